package tunnel

import (
	"context"
	"net"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/carrier"
)

// streamEnd is where a stream that the server announced comes in.
type streamEnd interface {
	// take waits for the connection.
	take(ctx context.Context) (net.Conn, error)
	// started looks whether START is there. settled is false while the connection
	// is not: then it may still be in its handshake, and it is too early to tell.
	started() (start, settled bool)
	// refused buries the connection on which nothing came.
	refused()
	// reserve and giveBack are for its end: whether it can be kept, and what
	// becomes of it.
	reserve(net.Conn) bool
	giveBack(conn net.Conn, keep bool)
}

// pooledEnd is a connection of its own.
func (cs *clientSession) pooledEnd(id pool.ID) streamEnd { return pooledEnd{cs.pool, id} }

type pooledEnd struct {
	pool *pool.Pool
	id   pool.ID
}

func (e pooledEnd) take(ctx context.Context) (net.Conn, error) { return e.pool.Take(ctx, e.id) }
func (e pooledEnd) started() (start, settled bool)             { return e.pool.Peek(e.id) }
func (e pooledEnd) refused()                                   { e.pool.Distrust(e.id) }
func (e pooledEnd) reserve(conn net.Conn) bool                 { return e.pool.Reserve(conn.(*pool.Conn)) }

func (e pooledEnd) giveBack(conn net.Conn, keep bool) {
	if keep {
		e.pool.Put(e.id.String(), conn)
	} else {
		conn.Close()
	}
}

// carriedEnd is one of many on a carrier.
func (cs *clientSession) carriedEnd(carrier uint16, number uint32) streamEnd {
	return carriedEnd{cs.carriers, carrier, number}
}

type carriedEnd struct {
	carriers *clientCarriers
	carrier  uint16
	number   uint32
}

func (e carriedEnd) take(ctx context.Context) (net.Conn, error) {
	on, err := e.carriers.wait(ctx, e.carrier)
	if err != nil {
		return nil, err
	}
	return on.Take(e.number)
}

func (e carriedEnd) started() (start, settled bool) {
	var on *carrier.Carrier
	on, settled = e.carriers.find(e.carrier)
	return on != nil && on.Started(e.number), settled
}

func (carriedEnd) refused()                       {} // it may be only behind; the server knows more
func (carriedEnd) reserve(net.Conn) bool          { return true }
func (carriedEnd) giveBack(conn net.Conn, _ bool) { conn.Close() }
