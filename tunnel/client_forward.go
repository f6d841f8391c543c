package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/datagram"
	"github.com/tunnelpool/pool/internal/relay"
	"github.com/tunnelpool/pool/internal/service"
	"github.com/tunnelpool/pool/internal/wire"
)

// newForward opens a forward's address.
func (c *Client) newForward(cfg *Forward, most int) (*forward, error) {
	f := &forward{gone: make(chan struct{})}
	f.now.Store(cfg)
	l, err := c.listenForward(f, most)
	if err != nil {
		return nil, fmt.Errorf("tunnel: forward %q: %w", cfg.Name, err)
	}
	f.listener = l
	f.status.Addr, f.status.Reason = l.Addr().String(), notConnectedYet
	f.public = service.NewPublic(l, func(t service.Trouble) {
		name := f.now.Load().Name
		tellTrouble(c.log, t, facts{"forward", name, "listener", l.Addr()}, fmt.Sprintf("Forward %q", name))
	})
	f.set(cfg)
	return f, nil
}

// set changes what a forward is. Client.mu guards it once there are others who know
// the forward.
func (f *forward) set(cfg *Forward) {
	f.now.Store(cfg)
	f.request = cfg.request(0) // the ref comes with the session
	f.status.Name, f.status.Target, f.status.UDP = cfg.Name, cfg.Target, cfg.network() == wire.NetworkUDP
}

// resize changes how many users there are at a time at most, where the listener
// bounds them too.
func (f *forward) resize(most int) {
	if l, ok := f.listener.(*datagram.Listener); ok {
		l.SetMaxFlows(most)
	}
}

func (c *Client) listenForward(f *forward, most int) (net.Listener, error) {
	cfg := f.now.Load()
	if cfg.network() != wire.NetworkUDP {
		return service.Listen(cfg.Listen)
	}
	l, err := datagram.Listen(cfg.Listen, most, datagram.Config{Idle: DefaultUDPIdle, Dropped: func(why error) {
		c.count.dropped.Add(1)
		if muted, ok := c.forwardTrouble.pass(time.Now()); ok {
			name := f.now.Load().Name
			pool.Tell(c.log, slog.LevelInfo, "datagram_dropped", facts{"forward", name, "reason", why, "muted", muted},
				"Forward %q: a datagram is dropped: %v%s", name, why, lostNote(muted))
		}
	}})
	if err != nil {
		return nil, err // and not a Listener that is nil
	}
	return l, nil
}

// serveForwardLocked lets users in, as long as the client runs. Those who are in
// go on.
func (c *Client) serveForwardLocked(f *forward) {
	c.tasks.Go(func() { // ends when the address is closed; users are tasks of their own
		f.public.Serve(c.streams, func(user net.Conn) { c.serveForwarded(f, user) })
	})
}

// forwarded is one user of a forward, from accept to the end of the stream.
type forwarded struct {
	client   *Client
	forward  *forward
	user     net.Conn
	arrived  time.Time
	patience time.Time // until when the user may wait for a connection
	attempts int
}

// serveForwarded takes one user through. It owns user. It may return before the
// stream is over.
func (c *Client) serveForwarded(f *forward, user net.Conn) {
	if c.served.Add(1) > int64(c.cfg.Load().MaxStreams) {
		c.served.Add(-1)
		c.count.refused.Add(1)
		relay.Reset(user)
		if _, ok := c.crowded.pass(time.Now()); ok {
			name := f.now.Load().Name
			pool.Tell(c.log, slog.LevelWarn, "user_turned_away", facts{"forward", name, "user", user.RemoteAddr(), "limit", c.cfg.Load().MaxStreams},
				"Forward %q: a user is turned away: %v", name, errOverloaded)
		}
		return
	}
	c.tasks.Add(1)
	c.active.add()
	f.open.Add(1)
	now := time.Now()
	v := &forwarded{client: c, forward: f, user: user, arrived: now, patience: now.Add(DefaultWait)}
	relay.Serve(c.streams, user, v.offer, v.over)
}

func (v *forwarded) over(res relay.Result) {
	c := v.client
	defer c.tasks.Done()
	defer c.active.done()
	c.served.Add(-1)
	v.forward.open.Add(-1)
	c.count.fromUsers.Add(res.Sent)
	c.count.toUsers.Add(res.Received)
	if res.Err == nil {
		return
	}
	if muted, ok := c.forwardTrouble.pass(time.Now()); ok && c.streams.Err() == nil {
		name := v.forward.now.Load().Name
		pool.Tell(c.log, slog.LevelWarn, "user_lost", facts{"forward", name, "user", v.user.RemoteAddr(), "error", res.Err, "muted", muted},
			"Forward %q: user %s was not served: %v%s", name, v.user.RemoteAddr(), res.Err, mutedNote(muted))
	}
}

// offer makes one attempt: a connection of the current session, and a stream
// announced on it. A user who comes while there is no session waits for one.
func (v *forwarded) offer(ctx context.Context) (*relay.Offering, error) {
	ctx, cancel := context.WithDeadlineCause(ctx, v.patience, errNoServer)
	defer cancel()
	var ended *clientSession
	for {
		cs, claim, err := v.session(ctx, ended)
		if err != nil {
			return nil, err
		}
		conn, err := cs.forwarding.Get(ctx)
		switch {
		case err == nil:
		case ctx.Err() == nil: // the session has ended
			ended = cs
			continue
		default:
			return nil, fmt.Errorf("no connection to the server within %v", DefaultWait)
		}
		number, ok := cs.announceForwarded(claim, func(n uint32) wire.Message {
			return wire.Open{Stream: n, ID: idOf(conn), Ref: claim.ref, User: v.user.RemoteAddr().String()}
		})
		if !ok {
			if !cs.moved(claim) {
				ended = cs
			}
			conn.Close()
			continue
		}
		return v.offering(cs, conn, number), nil
	}
}

// session waits for a session, other than one that has ended, in which the
// forward is allowed.
func (v *forwarded) session(ctx context.Context, ended *clientSession) (*clientSession, *claim[*forward], error) {
	c := v.client
	for {
		c.mu.Lock()
		cs, changed, reason := c.current, c.changed, v.forward.status.Reason
		var now *claim[*forward]
		up, final := false, false
		if cs != nil && cs != ended {
			if now = cs.forwards.latest[v.forward]; now != nil {
				up, final = now.up, now.final
			}
		}
		c.mu.Unlock()
		switch {
		case up:
			return cs, now, nil
		case final:
			return nil, nil, errors.New(reason)
		}
		select {
		case <-changed:
		case <-v.forward.gone:
			return nil, nil, errNotConfigured
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

// moved reports whether a forward is another claim now, or none.
func (cs *clientSession) moved(claim *claim[*forward]) bool {
	cs.client.mu.Lock()
	defer cs.client.mu.Unlock()
	return claim.withdrawn
}

var errNotConfigured = errors.New("it is not configured any more")

var errNoServer = errors.New("no session with the server")

func (v *forwarded) offering(cs *clientSession, conn *pool.Conn, number uint32) *relay.Offering {
	wait := min(ackWait(cs.link)<<v.attempts, maxAckWait)
	traffic := &v.forward.traffic
	v.client.count.forwarded.Add(1)
	traffic.streams.Add(1)
	if v.attempts > 0 {
		v.client.count.retried.Add(1)
		traffic.retries.Add(1)
	}
	v.attempts++
	cs.active.add()
	return &relay.Offering{
		Conn: conn, Number: number, AckWait: wait, OwedWait: owedWait,
		Ask: cs.asker(number, v.patience),
		End: func(verdict relay.Verdict) {
			switch verdict {
			case relay.Keep:
				cs.forwarding.Put(conn.ID(), conn)
			case relay.Dead:
				cs.forwarding.Distrust(idOf(conn))
			}
			conn.Close() // nothing after a Put or Distrust
			cs.active.done()
		},
		Meter: &traffic.Meter, FirstByte: v.answered,
	}
}

// answered notes how long the user waited for the first byte.
func (v *forwarded) answered() {
	took := time.Since(v.arrived)
	v.client.count.firstByte.Observe(took)
	v.forward.traffic.firstByte.Observe(took)
}

func idOf(conn *pool.Conn) pool.ID {
	id, _ := pool.ParseID(conn.ID()) // its own
	return id
}
