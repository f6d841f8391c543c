package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/datagram"
	"github.com/tunnelpool/pool/internal/relay"
	"github.com/tunnelpool/pool/internal/service"
	"github.com/tunnelpool/pool/internal/wire"
)

// maxForwardOutcomes bounds what is remembered of a client's streams: half a MB.
const maxForwardOutcomes = 2 * maxPending

// serverForwards are the targets that a session's users may reach, and the
// connections on which they come. The client hands those out.
type serverForwards struct {
	tasks sync.WaitGroup // the pool's

	mu      sync.Mutex
	targets map[uint16]*forwardTarget // by the client's ref
	pool    *pool.Pool                // nil as long as no target was granted
}

type forwardTarget struct {
	network byte
	address string
	trouble seldom // paces what is logged of it
	traffic targetTraffic
}

// forward answers the client's question whether its users may reach a target.
func (c *serverSession) forward(m wire.Forward) {
	code, reason := c.grant(m)
	if code == wire.OK {
		pool.Tell(c.server.log, slog.LevelInfo, "forward_up", c.ofClient("target", m.Target), "%s: users there may reach %s", c.name(), quoteSafe(m.Target))
	} else {
		pool.Tell(c.server.log, slog.LevelWarn, "forward_denied", c.ofClient("target", m.Target, "code", code, "reason", reason),
			"%s: forward to %q denied: %s", c.name(), m.Target, reason)
	}
	c.link.Send(wire.Forwarded{Ref: m.Ref, Code: code, Text: reason})
}

func (c *serverSession) grant(m wire.Forward) (wire.DenyCode, string) {
	s, fs := c.server, &c.forwards
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if reason := c.mayForward(m.Target); reason != "" { // with the lock: see exceed
		return wire.TargetNotAllowed, reason
	}
	switch {
	case fs.targets[m.Ref] != nil:
		return wire.BadRequest, "the forward is up already"
	case len(fs.targets) >= maxServices:
		return wire.TooMany, fmt.Sprintf("a client may have %d forwards", maxServices)
	}
	if fs.pool == nil {
		p, err := pool.NewServer(pool.ServerConfig{
			HandshakeTimeout: s.cfg.Load().HandshakeTimeout,
			Limits:           pool.Limits{MaxCap: c.poolMax},
			AwaitRunning:     true, // relay says so, at the ACK
			Reverse:          true,
			Logger:           s.log,
		})
		if err != nil {
			pool.Tell(s.log, slog.LevelError, "session_failed", c.ofClient("error", err), "%s: no pool for forwards: %v", c.name(), err)
			return wire.Internal, "the server could not make a pool; its log says more"
		}
		fs.pool, fs.targets = p, make(map[uint16]*forwardTarget)
		fs.tasks.Go(func() { p.Run(context.Background()) }) // ends with the pool's Close
	}
	fs.targets[m.Ref] = &forwardTarget{network: m.Network, address: m.Target}
	return wire.OK, ""
}

// mayForward says what keeps users of the client from a target, nothing if they
// may reach it.
func (c *serverSession) mayForward(target string) (reason string) {
	host, port, err := net.SplitHostPort(target)
	number, bad := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil || bad != nil || !c.forwardAllowed(host, uint16(number)):
		return fmt.Sprintf("forwards to %q are not allowed; the server's operator can allow it with --allow-forward", target)
	case !c.holder.grant.Load().MayForward(host, uint16(number)):
		return fmt.Sprintf("key %s may not forward to %q; the server's operator can change that: tunnel-server key --help", c.holder.label(), target)
	}
	return ""
}

// forwardAllowed reports whether the server's configuration allows a target.
func (c *serverSession) forwardAllowed(host string, port uint16) bool {
	for {
		now := c.server.cfg.Load()
		if now.forwards.Allow(host, port) {
			return true
		}
		c.curbed.Store(true)
		if c.server.cfg.Load() == now { // else nobody may have seen that
			return false
		}
	}
}

// connections is the pool, or nil.
func (fs *serverForwards) connections() *pool.Pool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.pool
}

func (fs *serverForwards) target(ref uint16) (*forwardTarget, *pool.Pool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.targets[ref], fs.pool
}

// count is of the connections, idle and in use.
func (fs *serverForwards) count() int {
	p := fs.connections()
	if p == nil {
		return 0
	}
	st := p.Stats()
	return st.Idle + st.Out
}

// admit takes a connection into the pool.
func (fs *serverForwards) admit(ctx context.Context, conn net.Conn) error {
	p := fs.connections()
	if p == nil {
		conn.Close()
		return errors.New("no forward was granted")
	}
	return p.Admit(ctx, conn)
}

// finish lets streams in progress end, and their connections with them.
func (fs *serverForwards) finish(ctx context.Context) {
	if p := fs.connections(); p != nil {
		p.Drain(ctx)
		p.Close()
	}
	fs.tasks.Wait()
}

// opened begins a stream that the client announced for a user of a forward.
func (c *serverSession) opened(m wire.Open) error {
	s := c.server
	if c.leaving {
		return errOpenAfterGoAway
	}
	target, connections := c.forwards.target(m.Ref)
	if target == nil {
		return fmt.Errorf("the client opened a stream for forward %d, which it does not have", m.Ref)
	}
	end := pooledEnd{connections, m.ID}
	taken, err := c.numbers.announced.enter(m.Stream, end)
	if err != nil {
		return fmt.Errorf("the client opened stream %d: %w", m.Stream, err)
	}
	if !taken {
		pool.Tell(s.log, slog.LevelDebug, "stream_not_served", c.ofClient("stream", m.Stream, "limit", maxPending),
			"%s: stream %d of a forward not served: %d are announced already", c.name(), m.Stream, maxPending)
		return nil
	}
	s.active.add()
	target.traffic.open.Add(1)
	s.tasks.Add(1)
	go c.attend(m.Stream, target, end) // ends with the stream, or when that is at rest
	return nil
}

// attend serves one user of a forward: its connection, and a stream on it.
func (c *serverSession) attend(number uint32, target *forwardTarget, end streamEnd) {
	s, streams, until := c.server, &c.numbers.announced, c.holder.streams
	ended := func() {
		streams.over(number)
		target.traffic.open.Add(-1)
		s.active.done()
		s.tasks.Done()
	}
	conn, err := streams.take(until, end)
	if err != nil {
		defer streams.gaveUp()
		pool.Tell(s.log, slog.LevelDebug, "stream_not_served", c.ofClient("stream", number, "error", err),
			"%s: stream %d of a forward: its connection is not here: %v", c.name(), number, err)
		ended()
		return
	}
	var placed []*crowd // where the user has a place
	relay.Attend(until, conn, relay.Task{
		Number:    number,
		StartWait: pairWait,
		Commit:    func() bool { return streams.commit(number) },
		Dial: func(ctx context.Context) (net.Conn, wire.ResetReason) {
			if c.mayForward(target.address) != "" { // not any more, and the session is told so
				return nil, wire.ResetShutdown
			}
			s.count.forwarded.Add(1)
			target.traffic.streams.Add(1)
			crowds := []*crowd{c.holder.users, s.users}
			if full := tryEnter(crowds); full != nil {
				s.count.overflowed.Add(1)
				c.forwardFailed(target, wire.ResetOverloaded, c.noPlace(full))
				return nil, wire.ResetOverloaded
			}
			placed = crowds
			conn, reason, err := c.reach(ctx, target)
			if err != nil {
				c.forwardFailed(target, reason, err)
			}
			return conn, reason
		},
		Limit:   c.holder.streamLimit(target.network),
		Meter:   &target.traffic.Meter,
		Reserve: func() bool { return end.reserve(conn) },
	}, func(res relay.Result) {
		leave(placed)
		end.giveBack(conn, res.Keep)
		if res.Err != nil && pool.Wanted(s.log, slog.LevelDebug) {
			pool.Tell(s.log, slog.LevelDebug, "stream_broke", c.ofClient("stream", number, "error", res.Err),
				"%s: stream %d of a forward broke: %v", c.name(), number, res.Err)
		}
		ended()
	})
}

func (c *serverSession) reach(ctx context.Context, target *forwardTarget) (net.Conn, wire.ResetReason, error) {
	if target.network != wire.NetworkUDP {
		return service.DialTarget(ctx, target.address, DefaultConnectTimeout)
	}
	conn, err := datagram.Dial(ctx, target.address, datagram.Config{Idle: DefaultUDPIdle, Pass: c.holder.rate.pass, Dropped: func(why error) {
		c.server.count.dropped.Add(1)
		if muted, ok := target.trouble.pass(time.Now()); ok {
			pool.Tell(c.server.log, slog.LevelInfo, "datagram_dropped", c.ofClient("target", target.address, "reason", why, "muted", muted),
				"%s: a datagram for or of target %s is lost: %v%s", c.name(), quoteSafe(target.address), why, lostNote(muted))
		}
	}})
	if err != nil {
		return nil, service.DialReason(ctx, err), err
	}
	return conn, 0, nil
}

// noPlace says whose limit kept a user out.
func (c *serverSession) noPlace(full *crowd) error {
	if most := c.holder.grant.Load().MaxStreams; full == c.holder.users && most > 0 {
		return fmt.Errorf("key %s may have %d users at the same time; see its max-streams", c.holder.label(), most)
	}
	return errNoPlace
}

var errNoPlace = errors.New("as many users as there may be; see --max-streams and the limit of open files (ulimit -n, LimitNOFILE=)")

var errOpenAfterGoAway = errors.New("the client opened a stream after its goodbye")

// forwardFailed tells now and then why a target was not reached.
func (c *serverSession) forwardFailed(target *forwardTarget, reason wire.ResetReason, err error) {
	if muted, ok := target.trouble.pass(time.Now()); ok && reason != wire.ResetShutdown {
		pool.Tell(c.server.log, slog.LevelWarn, "target_failed", c.ofClient("target", target.address, "code", reason, "error", err, "muted", muted),
			"%s: %s%s", c.name(), explainTarget(target.address, reason, err), mutedNote(muted))
	}
}
