package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/relay"
	"github.com/tunnelpool/pool/internal/wire"
)

const (
	// maxWaiting bounds the users of one client that wait for a connection.
	maxWaiting = 4096

	// The waiting time for ACK, from the control connection's round trip.
	minAckWait   = 100 * time.Millisecond
	maxAckWait   = 2 * time.Second
	firstAckWait = time.Second // before the first sample
)

// visit is one user, from accept to the end of the stream.
type visit struct {
	session  *serverSession // whose connection the user is offered on
	service  *published
	user     net.Conn
	patience time.Time // until when the user may wait to be taken
	attempts int       // offers so far
	dead     int       // connections that were found dead
}

// serveUser takes one user through: a warm connection, a stream, and the
// connection back. It owns user.
func (c *serverSession) serveUser(p *published, user net.Conn) {
	s := c.server
	s.active.add()
	defer s.active.done()
	v := &visit{session: c, service: p, user: user, patience: time.Now().Add(s.cfg.Wait)}
	res := relay.Serve(s.streams, user, v.offer)
	s.count.sent.Add(res.Sent)
	s.count.received.Add(res.Received)
	if v.dead > 0 {
		s.log.Info("%s: service %q: user %s met %d dead connections; those as old were closed",
			v.session.name(), p.name, user.RemoteAddr(), v.dead)
	}
	switch {
	case errors.Is(res.Err, relay.ErrNoAck):
		s.count.noAck.Add(1)
		s.log.Warn("%s: service %q: user %s lost: %v", v.session.name(), p.name, user.RemoteAddr(), res.Err)
	case res.Err != nil:
		s.log.Debug("%s: service %q: the stream of user %s broke: %v", v.session.name(), p.name, user.RemoteAddr(), res.Err)
	}
}

// offer makes one attempt: a connection of the client's current session, and
// a stream announced on it. A user who was offered before does not fall with
// the session that its next connection was to come from.
func (v *visit) offer(ctx context.Context) (*relay.Offering, error) {
	for {
		if v.session.lost() {
			if err := v.follow(ctx); err != nil {
				return nil, err
			}
		}
		c := v.session
		o, err := v.offerOn(c)
		if err == nil || v.attempts == 0 || !c.lost() {
			return o, err
		}
	}
}

func (v *visit) offerOn(c *serverSession) (*relay.Offering, error) {
	conn, err := c.connectionFor(v)
	if err != nil {
		return nil, err
	}
	id, number, ok := c.open(v.service, conn, v.user)
	if !ok {
		conn.Close()
		return nil, errEnding
	}
	c.server.count.streams.Add(1)
	if v.attempts > 0 {
		c.server.count.replays.Add(1)
	}
	wait := min(c.ackWait()<<v.attempts, maxAckWait) // a client that is merely slow gets more time
	v.attempts++
	return &relay.Offering{
		Conn: conn, Number: number, AckWait: wait,
		Ask: c.asker(number, v.patience),
		End: func(verdict relay.Verdict) { v.end(c, conn, id, verdict) },
	}, nil
}

// end gives an offering's connection back, or buries it.
func (v *visit) end(c *serverSession, conn *pool.Conn, id pool.ID, verdict relay.Verdict) {
	switch verdict {
	case relay.Keep:
		c.pool.Put(conn.ID(), conn)
	case relay.Dead:
		v.dead++
		c.pool.Distrust(id)
	}
	conn.Close() // nothing after a Put or Distrust
}

// follow moves the visit to the session that the client came back with, once
// the service is up there.
func (v *visit) follow(ctx context.Context) error {
	ctx, cancel := context.WithDeadline(ctx, v.patience)
	defer cancel()
	next, service := v.session.server.successor(ctx, v.session, v.service.name)
	if next == nil {
		return fmt.Errorf("%w, and is not back", errEnding)
	}
	v.session, v.service = next, service
	return nil
}

var errEnding = errors.New("the client's session ended")

// ackWait is when an ACK is late.
func (c *serverSession) ackWait() time.Duration {
	smoothed, variation := c.link.RTT()
	if smoothed == 0 {
		return firstAckWait
	}
	return min(max(smoothed+4*variation, minAckWait), maxAckWait)
}

// connectionFor waits in order for a pooled connection. That a user cannot be
// served is counted and logged.
func (c *serverSession) connectionFor(v *visit) (*pool.Conn, error) {
	s := c.server
	if c.waiting.Add(1) > maxWaiting {
		c.waiting.Add(-1)
		s.count.overflowed.Add(1)
		return nil, fmt.Errorf("%d users wait already", maxWaiting)
	}
	ctx, cancel := context.WithDeadline(c.waits, v.patience)
	conn, err := c.pool.Get(ctx)
	cancel()
	c.waiting.Add(-1)
	if errors.Is(err, pool.ErrTimeout) {
		s.count.timeouts.Add(1)
		s.log.Warn("%s: service %q: user %s waited %v for a connection and got none; can the client reach this server's port?",
			c.name(), v.service.name, v.user.RemoteAddr(), s.cfg.Wait)
	}
	return conn, err
}

// open numbers a stream and announces it, in one critical section, so that
// numbers go out in order. False: the session is ending, or the client's
// numbers are used up and the session ends, so that it comes back as a new
// instance.
func (c *serverSession) open(p *published, conn *pool.Conn, user net.Conn) (pool.ID, uint32, bool) {
	id, err := pool.ParseID(conn.ID())
	if err != nil {
		return id, 0, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return id, 0, false // nothing is opened behind a GoAway
	}
	if c.lastStream == 1<<32-1 {
		c.link.Close(errNumbersUsed)
		return id, 0, false
	}
	c.lastStream++
	c.link.Send(wire.Open{Stream: c.lastStream, ID: id, Ref: p.ref, User: user.RemoteAddr().String()})
	return id, c.lastStream, true
}

var errNumbersUsed = errors.New("stream numbers are used up; a new session begins at 1")
