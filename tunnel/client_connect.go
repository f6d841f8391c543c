package tunnel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
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
		begun := time.Now()
		welcomed, err := c.connect(ctx, plan.eager(begun))
		if ctx.Err() != nil {
			return
		}
		now := time.Now()
		var pause time.Duration
		if welcomed {
			last = ""
			pause = plan.ended(err, now.Sub(begun), now)
			if errors.Is(err, errStopping) {
				pool.Tell(c.log, slog.LevelInfo, "session_ended", facts{"server", c.cfg.Server}, "%s has ended this session; joining again", c.cfg.Server)
			} else {
				pool.Tell(c.log, slog.LevelWarn, "connection_lost", facts{"server", c.cfg.Server, "error", err},
					"Connection to %s lost: %v; reconnecting", c.cfg.Server, err)
			}
		} else {
			pause = plan.failed(err, now)
			if line := explain(c.cfg.Server, err); line != last || time.Since(lastLogged) >= repeatNotice {
				last, lastLogged = line, now
				pool.Tell(c.log, slog.LevelWarn, "connect_failed", facts{"server", c.cfg.Server, "code", denialCode(err), "error", err},
					"%s; trying again", line)
				c.setCurrent(nil, line)
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
		c.await(ctx, deadAfter(c.cfg.Heartbeat))
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

// connect makes one session and lives it. welcomed tells that the server took
// us in; err is why it ended.
func (c *Client) connect(ctx context.Context, eager bool) (welcomed bool, err error) {
	if max(c.announced.last(), c.numbers.latest()) >= wire.RenewStream {
		c.renew()
	}
	conn, err := c.dialControl(ctx, eager)
	if err != nil {
		return false, err
	}
	w, conn, err := readWelcome(ctx, conn)
	if err != nil {
		conn.Close()
		return false, err
	}
	p, err := c.newPool(w)
	if err != nil {
		conn.Close()
		return false, err
	}
	forwarding, err := c.newForwardPool(w)
	if err != nil {
		p.Close()
		conn.Close()
		return false, err
	}
	carriers := &clientCarriers{client: c, beat: w.Heartbeat, session: w.Session, key: c.cfg.Key.Session(w.Secret[:])}
	// The faster beat of the two: it is enough to set it on one side.
	cs := &clientSession{client: c, since: time.Now(), instance: c.instance, pool: p, forwarding: forwarding, carriers: carriers,
		local: conn.LocalAddr(), remote: conn.RemoteAddr(), retired: make(chan struct{}), link: session.New(conn, min(c.cfg.Heartbeat, w.Heartbeat))}
	return true, cs.run(ctx)
}

// renew takes a new instance: stream numbers begin at 1 again, which is safe
// because no connection of the old one is used any more.
func (c *Client) renew() {
	for i := range c.instance {
		c.instance[i] = byte(rand.Uint32())
	}
	c.announced.restart()
	c.numbers.restart()
}

// dialControl dials and proves the control connection.
func (c *Client) dialControl(ctx context.Context, eager bool) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn, err := c.race(ctx, eager)
	if err != nil {
		return nil, err
	}
	pool.TuneTCP(conn, c.cfg.KeepAlive)
	join := wire.Join{Identity: c.cfg.Identity, Instance: c.instance, LastStream: c.announced.last(),
		PoolMax: uint32(min(c.poolMax(), wire.MaxPool)), MaxStreams: uint32(min(c.cfg.MaxStreams, math.MaxInt32)), Name: c.cfg.Name}
	sec := c.security(c.cfg.Key, wire.KindControl, wire.AppendJoin(nil, join))
	return sec.Secure(ctx, conn)
}

func (c *Client) security(key pool.Key, kind pool.Kind, hello []byte) pool.Security {
	return pool.Security{
		TLS: c.cfg.TLS, TLSConfig: c.cfg.TLSConfig, ServerName: c.cfg.ServerName,
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
func (c *Client) maxOpen() int { return max(streamLimit(descriptorLimit()), c.cfg.MaxStreams) }

// poolMax is how many connections are idle at most.
func (c *Client) poolMax() int { return min(c.cfg.PoolMax, c.maxOpen()) }

// newPool makes the pool of a session.
func (c *Client) newPool(w wire.Welcome) (*pool.Pool, error) {
	cfg := c.poolConfig(w, wire.KindPool)
	cfg.Overflow = c.cfg.Carriers > 0
	return pool.NewClient(cfg)
}

// poolConfig is for a pool of a session: its connections prove the key together
// with the session's secret.
func (c *Client) poolConfig(w wire.Welcome, kind pool.Kind) pool.ClientConfig {
	maxCap := min(c.poolMax(), int(w.PoolMax))
	return pool.ClientConfig{
		Dial: func(ctx context.Context) (net.Conn, error) {
			return c.cfg.Dial(ctx, "tcp", c.cfg.Server)
		},
		Security:    c.security(c.cfg.Key.Session(w.Secret[:]), kind, w.Session[:]),
		Limits:      pool.Limits{MinCap: min(c.cfg.PoolMin, maxCap), MaxCap: maxCap},
		MaxOpen:     c.maxOpen(),
		MinInterval: c.cfg.PoolMinInterval, MaxInterval: c.cfg.PoolMaxInterval,
		KeepAlive: c.cfg.KeepAlive, HandshakeTimeout: handshakeTimeout,
		AwaitRunning: true, // relay says so, at the ACK
		Logger:       c.log,
	}
}
