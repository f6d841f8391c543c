package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/datagram"
	"github.com/tunnelpool/pool/internal/relay"
	"github.com/tunnelpool/pool/internal/service"
	"github.com/tunnelpool/pool/internal/wire"
)

// forward is one of the client's, with its listener.
type forward struct {
	Forward
	index  int // among the client's, and so its ref
	public *service.Public

	open    atomic.Int64 // users being served
	traffic traffic
}

// listenForwards opens the addresses of all forwards, or none.
func (c *Client) listenForwards() error {
	for i, f := range c.cfg.Forwards {
		l, err := c.listenForward(f)
		if err != nil {
			c.closeForwards()
			return fmt.Errorf("tunnel: forward %q: %w", f.Name, err)
		}
		c.forwards = append(c.forwards, &forward{Forward: f, index: i, public: service.NewPublic(l, func(t service.Trouble) {
			tellTrouble(c.log, t, facts{"forward", f.Name, "listener", l.Addr()}, fmt.Sprintf("Forward %q", f.Name))
		})})
		c.status[len(c.cfg.Services)+i].Addr = l.Addr().String()
	}
	return nil
}

func (c *Client) listenForward(f Forward) (net.Listener, error) {
	if f.network() != wire.NetworkUDP {
		return service.Listen(f.Listen)
	}
	l, err := datagram.Listen(f.Listen, c.cfg.MaxStreams, datagram.Config{Idle: DefaultUDPIdle, Dropped: func(why error) {
		c.count.dropped.Add(1)
		if muted, ok := c.forwardTrouble.pass(time.Now()); ok {
			pool.Tell(c.log, slog.LevelInfo, "datagram_dropped", facts{"forward", f.Name, "reason", why, "muted", muted},
				"Forward %q: a datagram is dropped: %v%s", f.Name, why, lostNote(muted))
		}
	}})
	if err != nil {
		return nil, err // and not a Listener that is nil
	}
	return l, nil
}

func (c *Client) closeForwards() {
	for _, f := range c.forwards {
		f.public.Close()
	}
}

// serveForwards lets users in until ctx ends. Those who are in go on.
func (c *Client) serveForwards(ctx context.Context) {
	for _, f := range c.forwards {
		c.tasks.Go(func() { // ends when the address is closed; users are tasks of their own
			f.public.Serve(c.streams, func(user net.Conn) { c.serveForwarded(f, user) })
		})
	}
	context.AfterFunc(ctx, c.closeForwards)
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
	if c.served.Add(1) > int64(c.cfg.MaxStreams) {
		c.served.Add(-1)
		c.count.refused.Add(1)
		relay.Reset(user)
		if _, ok := c.crowded.pass(time.Now()); ok {
			pool.Tell(c.log, slog.LevelWarn, "user_turned_away", facts{"forward", f.Name, "user", user.RemoteAddr(), "limit", c.cfg.MaxStreams},
				"Forward %q: a user is turned away: %v", f.Name, errOverloaded)
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
		pool.Tell(c.log, slog.LevelWarn, "user_lost", facts{"forward", v.forward.Name, "user", v.user.RemoteAddr(), "error", res.Err, "muted", muted},
			"Forward %q: user %s was not served: %v%s", v.forward.Name, v.user.RemoteAddr(), res.Err, mutedNote(muted))
	}
}

// offer makes one attempt: a connection of the current session, and a stream
// announced on it. A user who comes while there is no session waits for one.
func (v *forwarded) offer(ctx context.Context) (*relay.Offering, error) {
	ctx, cancel := context.WithDeadlineCause(ctx, v.patience, errNoServer)
	defer cancel()
	var ended *clientSession
	for {
		cs, err := v.session(ctx, ended)
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
		number, ok := cs.announceForwarded(func(n uint32) wire.Message {
			return wire.Open{Stream: n, ID: idOf(conn), Ref: uint16(v.forward.index), User: v.user.RemoteAddr().String()}
		})
		if !ok {
			conn.Close()
			ended = cs
			continue
		}
		return v.offering(cs, conn, number), nil
	}
}

// session waits for a session, other than one that has ended, in which the
// forward is allowed.
func (v *forwarded) session(ctx context.Context, ended *clientSession) (*clientSession, error) {
	c := v.client
	for {
		c.mu.Lock()
		cs, changed := c.current, c.changed
		status := c.status[len(c.cfg.Services)+v.forward.index]
		c.mu.Unlock()
		switch {
		case cs == nil || cs == ended:
		case status.Up:
			return cs, nil
		case cs.final[len(c.cfg.Services)+v.forward.index].Load():
			return nil, errors.New(status.Reason)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

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
