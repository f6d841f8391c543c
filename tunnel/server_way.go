package tunnel

import (
	"context"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/relay"
	"github.com/tunnelpool/pool/internal/wire"
)

// way is what a user is handed over on. It has a place among the streams that
// the client serves at the same time.
type way interface {
	// offer announces a stream for a user. It fails with errEnding when nothing
	// more is opened there; the way and its place are given up then.
	offer(v *visit, c *serverSession, ref uint16) (*relay.Offering, error)

	// giveUp takes back what nobody was offered on.
	giveUp(c *serverSession)
}

// sought is a way, or else a place among those who wait for one.
type sought struct {
	way    way
	place  pool.Request    // for a pooled connection
	change context.Context // ends when a carrier has become usable
}

// seek finds a way in this session: an idle pooled connection, else a carrier,
// else a place among those who wait, in order.
func (c *serverSession) seek() sought {
	if w := c.wayNow(); w != nil {
		return sought{way: w}
	}
	change := c.carriers.change()
	if w := c.wayNow(); w != nil { // it changed before
		return sought{way: w}
	}
	return sought{place: c.pool.Request(), change: change}
}

// find waits for what was sought: a pooled connection, or a carrier that has
// become usable.
func (c *serverSession) find(ctx context.Context, s sought) (way, error) {
	if s.way != nil {
		return s.way, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.waits, cancel)()
	for s.way == nil {
		conn, err := s.wait(ctx)
		switch {
		case err == nil:
			return c.pooledWay(conn), nil
		case s.change.Err() == nil || ctx.Err() != nil:
			return nil, err
		}
		s = c.seek()
	}
	return s.way, nil
}

// wait is for the pooled connection, until there is a change.
func (s *sought) wait(ctx context.Context) (*pool.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.change, cancel)()
	return s.place.Wait(ctx)
}

// wayNow finds one without waiting, or nil.
func (c *serverSession) wayNow() way {
	if _, conn, err := c.pool.ServerGet(0); err == nil {
		return c.pooledWay(conn.(*pool.Conn))
	}
	if most := int64(c.who.MaxStreams); c.open.Add(1) <= most || most == 0 {
		if n, ok := c.carriers.best(); ok {
			return carriedWay{n}
		}
	}
	c.open.Add(-1)
	return nil
}

func (c *serverSession) pooledWay(conn *pool.Conn) way {
	c.open.Add(1)
	return pooledWay{conn}
}

// ended gives a way's place among the client's streams back, for which somebody
// may wait.
func (c *serverSession) ended() {
	if open, most := c.open.Add(-1), int64(c.who.MaxStreams); most > 0 && open == most-1 {
		c.carriers.announce()
	}
}

// pooledWay is a connection of its own.
type pooledWay struct{ conn *pool.Conn }

func (w pooledWay) offer(v *visit, c *serverSession, ref uint16) (*relay.Offering, error) {
	id, err := pool.ParseID(w.conn.ID())
	ok := err == nil
	var number uint32
	if ok {
		number, ok = c.announce(v.backend, ref, func(n uint32) wire.Message {
			return wire.Open{Stream: n, ID: id, Ref: ref, User: v.user.RemoteAddr().String()}
		})
	}
	if !ok {
		w.giveUp(c) // to whom it can serve; one of a session that ends is closed there
		return nil, errEnding
	}
	return v.offering(c, number, 0, w.conn, func(verdict relay.Verdict) {
		switch verdict {
		case relay.Keep:
			c.pool.Put(w.conn.ID(), w.conn)
		case relay.Dead:
			v.dead++
			c.pool.Distrust(id)
			c.carriers.doubt()
		}
		w.conn.Close() // nothing after a Put or Distrust
		c.ended()
	}), nil
}

func (w pooledWay) giveUp(c *serverSession) {
	c.pool.Put(w.conn.ID(), w.conn)
	c.ended()
}

// carriedAckWait is the least time after which an ACK on a carrier is late, and
// carriedOwedWait how long one may take that the client says it owes. What others
// send may hold it up, for as long as a machine that has too much to do takes to
// read that; that the carrier is dead shows otherwise.
const (
	carriedAckWait  = time.Second
	carriedOwedWait = 15 * time.Second
)

// carriedWay is a carrier, which many share.
type carriedWay struct{ carrier numbered }

func (w carriedWay) offer(v *visit, c *serverSession, ref uint16) (*relay.Offering, error) {
	number, ok := c.announce(v.backend, ref, func(n uint32) wire.Message {
		return wire.Carry{Stream: n, Carrier: w.carrier.number, Ref: ref, User: v.user.RemoteAddr().String()}
	})
	if !ok {
		c.ended()
		return nil, errEnding
	}
	stream, err := w.carrier.Open(number)
	if err != nil { // the client forgets it again
		c.ended()
		return nil, errEnding
	}
	c.server.count.carried.Add(1)
	c.carried.Add(1)
	o := v.offering(c, number, carriedAckWait, stream, func(verdict relay.Verdict) {
		if verdict == relay.Dead {
			w.carrier.Doubt() // it may be only behind
		}
		stream.Close()
		c.ended()
	})
	o.OwedWait = carriedOwedWait
	return o, nil
}

func (w carriedWay) giveUp(c *serverSession) { c.ended() }
