package pool

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// LocalConfig configures [NewLocal]. Zero fields mean the stated defaults.
//
// The hooks Setup, Check and Goodbye get the connection's own handle, which
// lives as long as the connection does. So what Setup builds on it, an
// *ssh.Client for one, goes on working while the connection is pooled: it is
// kept with [Conn.SetValue], and each holder has it from [ValueOf]. Where
// something goes on reading there in the background, unread bytes are its
// affair, and no sign of a broken connection. A hook has until its context
// ends, which is also the deadline set on the connection; then the connection
// is closed. Hooks are called from several goroutines at once, one at a time for
// each connection, and must not wait for the pool itself.
type LocalConfig struct {
	// Network and Address say what to connect to: "tcp", the default, with
	// "host:port", or "unix" with a path.
	Network, Address string

	// Dial makes a connection, in place of Network and Address. It must heed ctx,
	// which ends after ConnectTimeout and with the pool: Close waits for it. It is
	// called from several goroutines at once.
	Dial func(ctx context.Context) (net.Conn, error)

	// TLS is cloned for the handshake with the server. An empty ServerName is
	// Address's host. Nil: no TLS.
	TLS *tls.Config

	// Setup greets, logs in, or builds on a new connection, before anybody gets
	// it. An error closes it, and counts as a failed dial.
	Setup func(ctx context.Context, c *Conn) error

	// Check proves a connection alive, by a request that costs the server
	// little. An error closes it. It runs in the background, see CheckEvery, and
	// before a hand-out, see CheckAtGet.
	Check func(ctx context.Context, c *Conn) error

	// Goodbye takes leave (LOGOUT, QUIT) before the pool closes a connection that
	// is in order: one that is too old, too many, used up, or not needed any more
	// because the pool ends. It is not called for one that broke, that its holder
	// closed or discarded, or that is put back after Close.
	Goodbye func(ctx context.Context, c *Conn) error

	// CheckEvery is how long ago an idle connection was last proven alive, by
	// a check or by being put back, when Check looks at it, at most a second
	// later. While it does, nobody gets the connection. Default 30 s; negative:
	// never.
	CheckEvery time.Duration

	// CheckAtGet has getters check what was last proven alive so long ago or
	// longer. It costs them the server's answer. Default 0: never; negative:
	// always.
	CheckAtGet time.Duration

	// ConnectTimeout is the one deadline for dial, TLS and Setup, default 10 s;
	// CheckTimeout that of Check, default 5 s; GoodbyeTimeout that of Goodbye and
	// the end of TLS, default 1 s, also where many connections are closed together.
	ConnectTimeout, CheckTimeout, GoodbyeTimeout time.Duration

	// MinInterval and MaxInterval bound the time between maintenance passes, as in
	// [ClientConfig], with the same defaults. They also pace dialing: on average at
	// most as many dials start in each MinInterval as MaxCap or MaxDials is, whichever
	// is more.
	MinInterval, MaxInterval time.Duration

	// KeepAlive is the longest idle time before TCP keep-alive probes, default 30 s;
	// negative: none. See [TuneTCP] for what else depends on it.
	KeepAlive time.Duration

	// MaxDials bounds the dials under way at once, default 16.
	MaxDials int

	// OnConn is told what happens to the pool's connections, after the fact, by
	// whoever's call brought it about: from several goroutines at once. It must not
	// block, and may look at the pool (Stats, Conns, Healthy) but do nothing else
	// with it. Without it nothing is spent on events. In a group, GroupConfig.New
	// knows the key that each function is for.
	OnConn func(ConnEvent)

	Limits
	Logger Logger // default: silent
}

const (
	defaultCheckEvery     = 30 * time.Second
	defaultConnectTimeout = 10 * time.Second
	defaultCheckTimeout   = 5 * time.Second
	defaultGoodbyeTimeout = time.Second
	defaultLocalDials     = 16
)

// NewLocal makes a single-ended pool: connections to a server that knows
// nothing of pools, dialed, secured and set up before anybody asks for one. It
// runs from the start, and until [Pool.Close] or [Pool.Drain]. IDs mean
// something here only.
//
// Holders take a connection with [Pool.Get], and end with [Pool.Put] when it is
// as good as before, with [Pool.Discard] when it is not; [Pool.Do] does both. A
// server that cannot be reached is no error here: [Pool.WaitReady] says so.
// A getter that waited in vain is told what keeps dials from succeeding.
func NewLocal(cfg LocalConfig) (*Pool, error) { return makeLocal(cfg, nil, nil) }

// makeLocal is NewLocal for a pool that has a room in a group, and a share of the
// budget that there is for all of the group; nil where there is none.
func makeLocal(cfg LocalConfig, r *room, b *budget) (*Pool, error) {
	if err := cfg.fill(); err != nil {
		return nil, fmt.Errorf("pool: LocalConfig.%w", err)
	}
	plan := cfg.planner()
	if err := plan.fillPace(); err != nil {
		return nil, fmt.Errorf("pool: LocalConfig.%w", err)
	}
	p := newPool(cfg.Logger, cfg.Limits)
	p.handsOut = true
	p.mu.tell = cfg.OnConn
	p.local = &localSide{cfg: cfg, pool: p}
	p.client = &dialSide{connect: p.local.connect, timeout: cfg.ConnectTimeout, planner: newPlanner(plan), wake: make(chan struct{}, 1)}
	p.room = r
	if b != nil {
		p.share = &share{budget: b, pool: p, wake: p.client.wake}
		p.idle.budget = b
	}
	p.running = true                                     // so that nobody's Run comes first
	p.wg.Go(func() { _ = p.work(context.Background()) }) // ends with Close
	return p, nil
}

// fill puts the defaults in and refuses what cannot work. Its errors begin with
// the field.
func (cfg *LocalConfig) fill() error {
	if err := cfg.fillDial(); err != nil {
		return err
	}
	if err := cfg.Limits.fillLocal(); err != nil {
		return err
	}
	if cfg.Check == nil && cfg.CheckAtGet != 0 {
		return wrong("CheckAtGet", "it is set, and Check is nil")
	}
	if cfg.Check == nil && cfg.CheckEvery > 0 {
		return wrong("CheckEvery", "it is set, and Check is nil")
	}
	for _, t := range []struct {
		name     string
		value    *time.Duration
		fallback time.Duration
	}{
		{"ConnectTimeout", &cfg.ConnectTimeout, defaultConnectTimeout},
		{"CheckTimeout", &cfg.CheckTimeout, defaultCheckTimeout},
		{"GoodbyeTimeout", &cfg.GoodbyeTimeout, defaultGoodbyeTimeout},
	} {
		if *t.value < 0 {
			return fmt.Errorf("%s is %v; it must not be negative", t.name, *t.value)
		}
		*t.value = cmp.Or(*t.value, t.fallback)
	}
	cfg.CheckEvery = cmp.Or(cfg.CheckEvery, defaultCheckEvery)
	cfg.KeepAlive = cmp.Or(cfg.KeepAlive, defaultKeepAlive)
	cfg.MaxDials = cmp.Or(cfg.MaxDials, defaultLocalDials)
	return nil
}

// fillDial makes Dial of Network and Address, and readies TLS.
func (cfg *LocalConfig) fillDial() error {
	switch {
	case cfg.Dial != nil && (cfg.Address != "" || cfg.Network != ""):
		return wrong("Dial", "it is set, and Address or Network too; one of them says where to connect to")
	case cfg.Dial == nil && cfg.Address == "":
		return wrong("Address", "it is empty, and Dial is nil; one of them says where to connect to")
	}
	if cfg.TLS != nil {
		cfg.TLS = cfg.TLS.Clone()
		if cfg.TLS.ServerName == "" && !cfg.TLS.InsecureSkipVerify {
			host, _, err := net.SplitHostPort(cfg.Address)
			if err != nil || host == "" {
				return wrong("TLS", "it has no ServerName, and there is no host in Address to take in its place; set the name in the server's certificate")
			}
			cfg.TLS.ServerName = host
		}
	}
	if cfg.Dial != nil {
		return nil
	}
	network, address := cmp.Or(cfg.Network, "tcp"), cfg.Address
	switch network {
	case "tcp", "tcp4", "tcp6":
		if hasUser(address) {
			return wrong("Address", "it is a URL or has a user in it; it must be host:port alone")
		}
		if _, _, err := net.SplitHostPort(address); err != nil && strings.HasPrefix(address, "/") {
			return wrong("Address", `%q is a path; set Network to "unix"`, address)
		} else if err != nil {
			return wrong("Address", "%q is not host:port: %w", address, err)
		}
	case "unix":
	default:
		return wrong("Network", "%q is not known; it can be tcp, tcp4, tcp6 or unix", network)
	}
	var dialer net.Dialer
	cfg.Dial = func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, network, address) }
	return nil
}

// hasUser reports whether an address has a place for a password, which no error
// is to show.
func hasUser(address string) bool {
	return strings.Contains(address, "://") || strings.Contains(address, "@")
}

// wrong says what is wrong with a field of a configuration.
func wrong(field, format string, args ...any) error {
	return fmt.Errorf("%s: %w", field, fmt.Errorf(format, args...))
}

// planner is the part of the configuration that the planner has.
func (cfg *LocalConfig) planner() PlannerConfig {
	return PlannerConfig{
		Limits: cfg.Limits, MinInterval: cfg.MinInterval, MaxInterval: cfg.MaxInterval, MaxDials: cfg.MaxDials,
		single: true,
	}
}

// localSide is what only the local role has. cfg and pool never change.
type localSide struct {
	cfg  LocalConfig
	pool *Pool

	names    atomic.Uint64             // connections named so far
	checkers atomic.Int64              // checks of idle connections under way
	watchers map[*dialWatcher]struct{} // of failed dials. The pool's lock guards it
}

// connect makes one connection: dialed, secured, named and set up.
func (l *localSide) connect(ctx context.Context) (*entry, error) {
	conn, err := dialed(l.cfg.Dial(ctx))
	if err != nil {
		return nil, err
	}
	tuneTCP(conn, l.cfg.KeepAlive)
	if l.cfg.TLS != nil {
		secured := tls.Client(batched(conn), l.cfg.TLS)
		if err := secured.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, fmt.Errorf("TLS handshake with %v: %w", conn.RemoteAddr(), err)
		}
		conn = secured
	}
	e := newEntry(conn)
	e.named(localID(l.names.Add(1)))
	e.share = l.pool.share
	e.own = &Conn{entry: e, pool: l.pool} // whoever has it may use what is set by now
	if l.cfg.Setup == nil {
		return e, nil
	}
	if err := l.runHook(ctx, e, l.cfg.Setup); err != nil {
		closeBelowTLS(conn)
		if ctx.Err() != context.Canceled { // by the pool's end, or by who wanted it alone
			l.pool.mu.Lock()
			l.pool.count.setupFailures++
			l.pool.mu.Unlock()
		}
		return nil, fmt.Errorf("set up the connection to %v: %w", conn.RemoteAddr(), err)
	}
	return e, nil
}

// localID names connections in the order in which they are made.
func localID(n uint64) (id ID) {
	text := strconv.FormatUint(n, 36)
	for i := range id {
		id[i] = '0'
	}
	copy(id[max(idSize-len(text), 0):], text) // 36^8 are enough for a thousand a second over 89 years
	return id
}
