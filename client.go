package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// ClientConfig configures [NewClient]. Zero fields mean the stated defaults.
type ClientConfig struct {
	// Dial makes a connection to the server, which is the pool's from then on.
	// It must heed ctx, which ends after HandshakeTimeout and with the pool:
	// Close waits for it. It is called from several goroutines at once.
	// Required.
	Dial func(ctx context.Context) (net.Conn, error)

	// Security is what a dialed connection goes through: TLS mode (default
	// TLSSelfSigned), roots, server name, key.
	Security Security

	// MinInterval and MaxInterval bound the time between maintenance passes.
	// They also pace dialing: on average at most MaxCap dials start in each
	// MinInterval, and at most MaxCap at once. Defaults 100 ms and 1 s; a
	// MinInterval above 1 s raises the default of MaxInterval.
	MinInterval, MaxInterval time.Duration

	// KeepAlive is the longest idle time before TCP keep-alive probes, default 30 s;
	// negative: none. See [TuneTCP] for what else depends on it.
	KeepAlive time.Duration

	// AwaitRunning is as in ServerConfig.
	AwaitRunning bool

	// HandshakeTimeout is the one deadline for dial, TLS, proof and ID,
	// default 10 s.
	HandshakeTimeout time.Duration

	// PairTimeout is how long ClientGet waits for an ID that is on its way, and
	// how long an idle connection may hold unread bytes before it counts as
	// forgotten; the sweep notices up to 2 s later. Default 3 s.
	PairTimeout time.Duration

	// MaxDials bounds the dials under way at once, default 128.
	MaxDials int

	// Overflow says that takers who find no connection idle are served in another
	// way, of which [Pool.Overflowed] tells. Then nobody waits for the dials, and
	// they are spread: at most 100 a second beyond the first MinCap.
	Overflow bool

	// Reverse says that this side hands the connections out, with Get, and the
	// server takes each by the ID that it is named, with Take. The other side's
	// ServerConfig must say so too.
	Reverse bool

	// Check and CheckEvery are as in ServerConfig, for a pool with Reverse.
	Check      func(*Conn) error
	CheckEvery time.Duration

	// ShortIDs reads each connection's ID as 4 bytes, as NodePass's pool v1.0.50
	// sends it, whose first one is 00000000. The server must send them so too, with
	// ServerConfig.ShortIDs: otherwise every ID that it names is [ErrBadID] here.
	ShortIDs bool

	// OnConn is as in [LocalConfig].
	OnConn func(ConnEvent)

	Limits
	Logger Logger // default: silent
}

const (
	defaultMinInterval = 100 * time.Millisecond
	defaultMaxInterval = time.Second
	defaultMaxDials    = 128
)

// NewClient makes a client pool. [Pool.Run] dials; until then it is empty and
// its gets wait.
func NewClient(cfg ClientConfig) (*Pool, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	config, err := cfg.Security.prepare()
	if err != nil {
		return nil, fmt.Errorf("pool: ClientConfig.Security: %w", err)
	}
	look, err := newLook(cfg.Check, cfg.CheckEvery, cfg.Reverse)
	if err != nil {
		return nil, fmt.Errorf("pool: ClientConfig.%w", err)
	}
	planner, err := NewPlanner(cfg.planner())
	if err != nil {
		return nil, err
	}
	p := newPool(cfg.Logger, cfg.Limits)
	p.pairTimeout = cfg.PairTimeout
	p.awaitRunning = cfg.AwaitRunning
	p.look = look
	p.handsOut = cfg.Reverse
	p.ids = formOfIDs(cfg.ShortIDs)
	p.mu.tell = cfg.OnConn
	d := &pairing{cfg, config}
	p.client = &dialSide{connect: d.connect, timeout: cfg.HandshakeTimeout, planner: planner, wake: make(chan struct{}, 1)}
	return p, nil
}

// fill puts the defaults in and refuses what cannot work.
func (cfg *ClientConfig) fill() error {
	if cfg.Dial == nil {
		return errors.New("pool: ClientConfig.Dial is nil")
	}
	if err := cfg.Limits.fillClient(cfg.Reverse); err != nil {
		return fmt.Errorf("pool: ClientConfig.%w", err)
	}
	plan := cfg.planner()
	if err := plan.fillPace(); err != nil {
		return fmt.Errorf("pool: ClientConfig.%w", err)
	}
	cfg.MaxDials = plan.MaxDials
	cfg.MinInterval, cfg.MaxInterval = plan.MinInterval, plan.MaxInterval
	if cfg.HandshakeTimeout < 0 || cfg.PairTimeout < 0 {
		return fmt.Errorf("pool: ClientConfig.HandshakeTimeout and PairTimeout must not be negative (%v, %v)", cfg.HandshakeTimeout, cfg.PairTimeout)
	}
	cfg.HandshakeTimeout = cmp.Or(cfg.HandshakeTimeout, defaultHandshakeTimeout)
	cfg.PairTimeout = cmp.Or(cfg.PairTimeout, defaultPairTimeout)
	if cfg.KeepAlive == 0 {
		cfg.KeepAlive = defaultKeepAlive
	}
	return nil
}

// planner is the part of the configuration that the planner has.
func (cfg *ClientConfig) planner() PlannerConfig {
	return PlannerConfig{
		Limits: cfg.Limits, MinInterval: cfg.MinInterval, MaxInterval: cfg.MaxInterval,
		MaxDials: cfg.MaxDials, Overflow: cfg.Overflow,
	}
}

// NewClientPool makes a client pool with the seed API's rules: capacities
// below 1 mean 1, intervals of 0 or less mean 1 s, swapped bounds are put in
// order, keepAlive of 0 or less means the default. tlsCode is "0", "1" or "2";
// hostname is what mode 2 verifies. What cannot work is answered by [Pool.Err]
// and by every get: an unknown tlsCode never means plain TCP.
//
// dialer knows no context: one that hangs is left behind after 10 s, and a
// connection it still brings is closed.
func NewClientPool(minCap, maxCap int, minIvl, maxIvl, keepAlive time.Duration, tlsCode, hostname string, dialer func() (net.Conn, error)) *Pool {
	mode, err := ParseTLSMode(tlsCode)
	if err != nil {
		return broken(err)
	}
	if dialer == nil {
		return broken(errors.New("pool: NewClientPool: the dialer is nil"))
	}
	minCap, maxCap = atLeast(minCap, 1), atLeast(maxCap, 1)
	minIvl, maxIvl = atLeast(minIvl, time.Second), atLeast(maxIvl, time.Second)
	p, err := NewClient(ClientConfig{
		Dial:        heedContext(dialer),
		Security:    Security{TLS: mode, ServerName: hostname},
		Limits:      Limits{MinCap: min(minCap, maxCap), MaxCap: max(minCap, maxCap)},
		MinInterval: min(minIvl, maxIvl), MaxInterval: max(minIvl, maxIvl),
		KeepAlive: max(keepAlive, 0),
	})
	if err != nil {
		return broken(err)
	}
	return p
}

// heedContext gives a dial function of the seed API a context. When that ends
// first the call is left behind, and what it still brings is closed. Calls in
// progress, those left behind included, are bounded.
func heedContext(dialer func() (net.Conn, error)) func(context.Context) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	calls := make(chan struct{}, 2*defaultMaxDials)
	return func(ctx context.Context) (net.Conn, error) {
		select {
		case calls <- struct{}{}:
		default:
			return nil, fmt.Errorf("%d calls of the dialer hang", cap(calls))
		}
		done := make(chan result) // unbuffered: either side knows who has the connection
		go func() {               // ends when dialer returns
			conn, err := dialer()
			<-calls
			select {
			case done <- result{conn, err}:
			case <-ctx.Done():
				if conn != nil {
					conn.Close()
				}
			}
		}()
		select {
		case r := <-done:
			return r.conn, r.err
		case <-ctx.Done():
			return nil, errors.New("the dialer did not return in time")
		}
	}
}

// atLeast returns v, or fallback when v is not positive.
func atLeast[T int | time.Duration](v, fallback T) T {
	if v <= 0 {
		return fallback
	}
	return v
}

// ClientManager keeps the pool filled until Close. Call it in a goroutine of
// its own. Programs that use contexts call [Pool.Run] instead.
func (p *Pool) ClientManager() { _ = p.Run(context.Background()) }

// ClientGet takes the connection with that ID, which the server pool handed
// out. A well-formed ID is waited for up to PairTimeout, because it may arrive
// before its connection does: then [ErrTimeout]. A malformed one is
// [ErrBadID], one seen and gone [ErrNotFound], both at once.
func (p *Pool) ClientGet(id string) (net.Conn, error) {
	return p.OutgoingGet(id, p.pairTimeout)
}

// OutgoingGet is ClientGet with a timeout of the caller's, under the name it
// has in NodePass's pool v1.0.50; 0 or less does not wait.
func (p *Pool) OutgoingGet(id string, timeout time.Duration) (net.Conn, error) {
	parsed, err := ParseID(id)
	if err != nil {
		return nil, cmp.Or(p.Err(), err)
	}
	c, err := p.take(context.Background(), parsed, max(timeout, 0))
	if err != nil {
		return nil, fmt.Errorf("connection %s: %w", parsed, err)
	}
	return c, nil
}

// Demand tells a client pool that n takers wait at the other end: it dials for
// them at once, beyond its capacity if need be but never beyond MaxCap, and
// counts them when it adapts. On a server pool it does nothing.
func (p *Pool) Demand(n int) {
	if p.client == nil || n <= 0 {
		return
	}
	p.mu.Lock()
	p.client.planner.Demand(time.Now(), n)
	p.client.wakeLocked()
	p.mu.Unlock()
}

// Overflowed tells a client pool that a taker at the other end found no
// connection idle and was served in another way. It counts when the pool adapts,
// and nobody waits for the dials that follow. On a server pool it does nothing.
func (p *Pool) Overflowed() {
	if p.client == nil {
		return
	}
	p.mu.Lock()
	p.client.planner.Missed(time.Now())
	p.mu.Unlock()
}

// dialSide is what the roles have that dial. The pool's lock guards what
// changes.
type dialSide struct {
	connect func(context.Context) (*entry, error) // never changes: a connection that is ready for the pool
	timeout time.Duration                         // never changes: of connect

	planner *Planner      // decides; maintain.go carries it out
	wake    chan struct{} // buffered: a pass is wanted now

	dialed, failed uint64
	told           bool      // the log, that dials fail
	lastFailure    time.Time // of a dial
	failure        error     // of the dial that ended last
}

// missedLocked notes that a taker found none idle, and whether it waits now.
// One that does not wait may ask again at once: it wakes the maintainer, but
// its asking is no measure of demand. A nil receiver is a server pool's.
func (d *dialSide) missedLocked(waits bool) {
	if d == nil {
		return
	}
	if waits {
		d.planner.Missed(time.Now())
	}
	d.wakeLocked()
}

// tookLocked notes a take, and wakes the maintainer when the planner wants to
// know of it at once. A nil receiver is a server pool's.
func (d *dialSide) tookLocked(p *Pool, now time.Time) {
	if d != nil && d.planner.Took(now, p.idle.len) {
		d.wakeLocked()
	}
}

func (d *dialSide) wakeLocked() {
	if d == nil {
		return
	}
	select {
	case d.wake <- struct{}{}:
	default: // a pass is on its way already
	}
}
