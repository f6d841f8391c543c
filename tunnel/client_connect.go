package tunnel

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/session"
	"github.com/tunnelpool/pool/internal/wire"
)

// repeatNotice is how often a failure that stays the same is logged again.
const repeatNotice = time.Minute

// denied is the server's refusal of a session.
type denied struct {
	code wire.DenyCode
	text string
}

func (d *denied) Error() string {
	return fmt.Sprintf("the server denied the session: %s", quoteSafe(d.text))
}

// denialCode is that of a refused session, nil of any other failure.
func denialCode(err error) any {
	var no *denied
	if errors.As(err, &no) {
		return no.code
	}
	return nil
}

// keepConnected runs one session after the other until ctx ends.
func (c *Client) keepConnected(ctx context.Context) {
	var plan schedule
	var last string
	var lastLogged time.Time
	for ctx.Err() == nil {
		begun, cfg := time.Now(), c.cfg.Load()
		welcomed, err := c.connect(ctx, cfg, plan.eager(begun))
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errOutdated) || !cfg.sameSession(c.cfg.Load()) { // whatever came of it
			plan, last = schedule{}, ""
			server := c.cfg.Load().Server
			pool.Tell(c.log, slog.LevelInfo, "session_outdated", facts{"server", server}, "The configuration has changed; joining %s for it", server)
			continue
		}
		now := time.Now()
		var pause time.Duration
		if welcomed {
			last = ""
			pause = plan.ended(err, now.Sub(begun), now)
			if errors.Is(err, errStopping) {
				pool.Tell(c.log, slog.LevelInfo, "session_ended", facts{"server", cfg.Server}, "%s has ended this session; joining again", cfg.Server)
			} else {
				pool.Tell(c.log, slog.LevelWarn, "connection_lost", facts{"server", cfg.Server, "error", err},
					"Connection to %s lost: %v; reconnecting", cfg.Server, err)
			}
		} else {
			pause = plan.failed(err, now)
			line := explain(cfg.Server, err)
			if !errors.Is(err, errYielded) && (line != last || time.Since(lastLogged) >= repeatNotice) {
				last, lastLogged = line, now
				pool.Tell(c.log, slog.LevelWarn, "connect_failed", facts{"server", cfg.Server, "code", denialCode(err), "error", err},
					"%s; trying again", line)
				c.notConnected(line)
			}
		}
		if c.pause(ctx, pause) {
			plan = schedule{}
		}
	}
}

// pause waits for d. It ends early, and reports so, when the way to the server
// may have become another: this machine slept or has a new address, or the
// server that was stopping is gone.
func (c *Client) pause(ctx context.Context, d time.Duration) (roused bool) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var awaiting sync.WaitGroup
	defer awaiting.Wait()
	defer cancel()
	awaiting.Go(func() { // ends with ctx
		c.await(ctx, deadAfter(c.cfg.Load().Heartbeat))
		if ctx.Err() == nil {
			c.rouse()
		}
	})
	select {
	case <-ctx.Done():
		return false
	case <-c.roused:
		return true
	}
}

// deadAfter is how long a silence of its peer a control connection survives.
func deadAfter(heartbeat time.Duration) time.Duration { return 3 * heartbeat }

// rouse ends a pause between attempts.
func (c *Client) rouse() {
	select {
	case c.roused <- struct{}{}:
	default: // it is not over yet, or there is none
	}
}

// connect makes one session and lives it, as long as cfg holds. welcomed tells
// that the server took us in; err is why it ended.
func (c *Client) connect(ctx context.Context, cfg *ClientConfig, eager bool) (welcomed bool, err error) {
	if at := cfg.place(); at != c.at {
		c.moveTo(at)
	}
	if max(c.numbers.announced.last(), c.numbers.latest()) >= wire.RenewStream {
		c.renew()
	}
	w, conn, err := c.join(ctx, cfg, eager)
	if err != nil {
		if c.yield(err) {
			err = fmt.Errorf("%w: %w", errYielded, err)
		}
		return false, err
	}
	cs, err := c.newSession(cfg, w, conn)
	if err != nil {
		conn.Close()
		return false, err
	}
	return true, cs.run(ctx)
}

// errYielded marks a denial whose cause is out of the way: nobody needs to hear of it.
var errYielded = errors.New("the session that was in the way has ended")

// yield ends a session that is to be replaced, when the server takes its successor
// for another program because of it, and reports whether there was one.
func (c *Client) yield(err error) bool {
	var d *denied
	if !errors.As(err, &d) || d.code != wire.IdentityInUse {
		return false
	}
	c.mu.Lock()
	former := c.current
	c.mu.Unlock()
	if former != nil {
		former.release()
		former.link.Finish(farewellLimit)
	}
	return former != nil
}

// moveTo takes the instance of another place: a new one, unless the session that is
// to be replaced is there, since an attempt to go elsewhere led to nothing.
func (c *Client) moveTo(at place) {
	c.mu.Lock()
	current := c.current
	c.mu.Unlock()
	c.at = at
	if current != nil && current.cfg.place() == at {
		c.numbers = current.numbers
		return
	}
	c.renew()
}

// renew takes a new instance: stream numbers begin at 1 again. Sessions keep what
// they know of the former one.
func (c *Client) renew() {
	c.numbers = new(numbering)
	rand.Read(c.numbers.instance[:])
}

// join makes a control connection, and hears the server's welcome. Reconfigure
// ends it when that is not what is wanted any more.
func (c *Client) join(ctx context.Context, cfg *ClientConfig, eager bool) (wire.Welcome, net.Conn, error) {
	ctx, abandon := context.WithCancel(ctx)
	defer abandon()
	c.mu.Lock()
	c.abandon = func(now *ClientConfig) {
		if !cfg.sameSession(now) {
			abandon()
		}
	}
	c.abandon(c.cfg.Load())
	c.mu.Unlock()
	conn, err := c.dialControl(ctx, cfg, eager)
	if err != nil {
		return wire.Welcome{}, nil, err
	}
	w, on, err := readWelcome(ctx, conn)
	if err != nil {
		conn.Close()
	}
	return w, on, err
}

// newSession makes a session of a control connection, which it owns, unless it
// fails.
func (c *Client) newSession(cfg *ClientConfig, w wire.Welcome, conn net.Conn) (*clientSession, error) {
	// The faster beat of the two: it is enough to set it on one side.
	cs := &clientSession{client: c, cfg: cfg, since: time.Now(), numbers: c.numbers, local: conn.LocalAddr(), remote: conn.RemoteAddr(),
		link: session.New(conn, min(cfg.Heartbeat, w.Heartbeat)), pace: newPace(), changed: make(chan struct{}, 1),
		retired: make(chan struct{}), outdated: make(chan struct{})}
	cs.services.what, cs.forwards.what = wire.WhatService, wire.WhatForward
	cs.carriers = &clientCarriers{client: c, cfg: cfg, beat: w.Heartbeat, session: w.Session, key: cfg.Key.Session(w.Secret[:])}
	var err error
	if cs.pool, err = pool.NewClient(cfg.pool(w, wire.KindPool)); err != nil {
		return nil, err
	}
	if len(cfg.Forwards) > 0 {
		if cs.forwarding, err = pool.NewClient(cfg.forwardPool(w)); err != nil {
			cs.pool.Close()
			return nil, err
		}
	}
	return cs, nil
}

// dialControl dials and proves the control connection.
func (c *Client) dialControl(ctx context.Context, cfg *ClientConfig, eager bool) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn, err := c.race(ctx, cfg.dial, eager)
	if err != nil {
		return nil, err
	}
	pool.TuneTCP(conn, cfg.KeepAlive)
	join := wire.Join{Identity: cfg.Identity, Instance: c.numbers.instance, LastStream: c.numbers.announced.last(),
		PoolMax: uint32(min(cfg.poolMax(), wire.MaxPool)), MaxStreams: uint32(min(cfg.MaxStreams, math.MaxInt32)), Name: cfg.Name}
	sec := cfg.security(cfg.Key, wire.KindControl, wire.AppendJoin(nil, join))
	return sec.Secure(ctx, conn)
}

func (cfg *ClientConfig) dial(ctx context.Context) (net.Conn, error) {
	return cfg.Dial(ctx, "tcp", cfg.Server)
}

func (cfg *ClientConfig) security(key pool.Key, kind pool.Kind, hello []byte) pool.Security {
	return pool.Security{
		TLS: cfg.TLS, TLSConfig: cfg.TLSConfig, ServerName: cfg.ServerName,
		Key: key, Kind: kind, Hello: hello,
	}
}

// readWelcome reads the server's first message. The connection it returns is
// the one to go on with: it starts behind that message.
func readWelcome(ctx context.Context, conn net.Conn) (wire.Welcome, net.Conn, error) {
	conn.SetDeadline(time.Now().Add(handshakeTimeout))
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	buffered := &bufferedConn{Conn: conn, r: bufio.NewReader(conn)}
	m, err := wire.ReadMessage(buffered.r, make([]byte, wire.MessageHeaderSize+wire.MaxMessage))
	if err != nil {
		return wire.Welcome{}, conn, fmt.Errorf("no welcome from the server: %w", err)
	}
	switch m := m.(type) {
	case wire.Welcome:
		return m, buffered, nil
	case wire.Deny:
		return wire.Welcome{}, conn, &denied{m.Code, m.Text}
	}
	return wire.Welcome{}, conn, fmt.Errorf("the server began with %v instead of a welcome", m.Type())
}

// bufferedConn reads through a buffer that may hold what came behind the
// welcome.
type bufferedConn struct {
	net.Conn
	r *bufio.Reader
}

func (b *bufferedConn) Read(p []byte) (int, error) { return b.r.Read(p) }

// maxOpen bounds the pooled connections, so that they leave the descriptors
// that targets need, and the quarter that is kept.
func (cfg *ClientConfig) maxOpen() int { return max(streamLimit(descriptorLimit()), cfg.MaxStreams) }

// poolMax is how many connections are idle at most.
func (cfg *ClientConfig) poolMax() int { return min(cfg.PoolMax, cfg.maxOpen()) }

// pool is for the pool of a session: its connections prove the key together with
// the session's secret.
func (cfg *ClientConfig) pool(w wire.Welcome, kind pool.Kind) pool.ClientConfig {
	maxCap := min(cfg.poolMax(), int(w.PoolMax))
	return pool.ClientConfig{
		Dial:        cfg.dial,
		Security:    cfg.security(cfg.Key.Session(w.Secret[:]), kind, w.Session[:]),
		Limits:      pool.Limits{MinCap: min(cfg.PoolMin, maxCap), MaxCap: maxCap, MaxOpen: cfg.maxOpen()},
		MinInterval: cfg.PoolMinInterval, MaxInterval: cfg.PoolMaxInterval,
		KeepAlive: cfg.KeepAlive, HandshakeTimeout: handshakeTimeout,
		AwaitRunning: true, // relay says so, at the ACK
		Overflow:     kind == wire.KindPool && cfg.Carriers > 0,
		Logger:       cfg.Logger,
	}
}
