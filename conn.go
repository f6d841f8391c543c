package pool

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is a pooled connection in its holder's hands. Each hand-out makes a new
// one: after [Pool.Put] or Close it is dead, a later Close does nothing and
// all else is [net.ErrClosed], so that a stale handle never reaches the next
// holder's connection. Safe for concurrent use as any net.Conn is.
type Conn struct {
	entry *entry
	pool  *Pool
	use   atomic.Int64 // calls in progress, and the bits below
}

const (
	connDead   = int64(1) << 62
	connSpoilt = int64(1) << 61 // a direction is over: not worth another holder
	connRead   = int64(1) << 60 // the holder read, so bytes may be buffered above the socket

	connRunning    = int64(1) << 59 // the user timeout is lifted
	connBackground = int64(1) << 58 // own handle: something reads on it between the hooks
	connLook       = int64(1) << 57 // a look's handle: it neither reads nor writes

	connNotes = connRead | connRunning | connBackground // bits that say nothing of calls or fitness
	connFlags = connDead | connSpoilt | connLook | connNotes
)

// begin enters a call on the connection; end leaves it.
func (c *Conn) begin() bool {
	if c.use.Add(1)&(connDead|connLook) != 0 {
		c.use.Add(-1)
		return false
	}
	return true
}

func (c *Conn) end() { c.use.Add(-1) }

// refused says why begin said no.
func (c *Conn) refused() error {
	if c.use.Load()&(connDead|connLook) == connLook {
		return ErrLookOnly
	}
	return net.ErrClosed
}

// spoil keeps the connection from going back to the pool: where a direction is
// over under TLS, a look at the socket does not tell.
func (c *Conn) spoil() { c.use.Or(connSpoilt) }

// noteRead remembers that bytes may be buffered above the socket.
func (c *Conn) noteRead() {
	if c.use.Load()&connRead == 0 {
		c.use.Or(connRead)
	}
}

// wasRead tells whether they may.
func (c *Conn) wasRead() bool { return c.use.Load()&connRead != 0 }

// live tells whether the handle was neither put back nor closed.
func (c *Conn) live() bool { return c.use.Load()&connDead == 0 }

// inCall tells whether a call is in progress.
func (c *Conn) inCall() bool { return c.use.Load()&^connFlags != 0 }

// alone tells whoever is in a call that no other is in progress, and that the
// connection is not spoilt.
func (c *Conn) alone() bool { return c.use.Load()&^connNotes == 1 }

// retire kills the handle. mine is false if it was dead before; alone tells
// that no call was in progress and nothing spoilt the connection, without
// which it cannot be another holder's.
func (c *Conn) retire() (alone, mine bool) {
	before := c.use.Or(connDead)
	return before&^connNotes == 0, before&connDead == 0
}

// ID returns the connection's ID, the same on both ends.
func (c *Conn) ID() string { return c.entry.text }

// NetConn returns the connection below, or nil once the handle is dead. In the
// TLS modes it is a *tls.Conn, whose own NetConn is not the socket but a layer
// on it, see SyscallConn for that. What is read or written there passes by the
// handle's guard; it must stop before Put.
func (c *Conn) NetConn() net.Conn {
	if c.use.Load()&(connDead|connLook) != 0 {
		return nil
	}
	c.noteRead() // whoever asks may read there
	return c.entry.conn
}

// Read implements net.Conn. After end-of-file or an error, but for a timeout,
// a Put closes the connection.
func (c *Conn) Read(b []byte) (int, error) {
	if !c.begin() {
		return 0, c.refused()
	}
	defer c.end()
	c.noteRead()
	n, err := c.entry.read(b)
	if err != nil && !isTimeout(err) {
		c.spoil()
	}
	return n, err
}

// Write implements net.Conn. After an error, also a timeout, which may have cut
// the bytes anywhere, a Put closes the connection.
func (c *Conn) Write(b []byte) (int, error) {
	if !c.begin() {
		return 0, c.refused()
	}
	defer c.end()
	n, err := c.entry.write(b)
	if err != nil {
		c.spoil()
	}
	return n, err
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// Close ends the connection for both sides and tells the pool. Only the first
// Close of a live handle does anything.
func (c *Conn) Close() error {
	if c.use.Load()&connLook != 0 {
		return c.refused()
	}
	if _, mine := c.retire(); !mine {
		return nil
	}
	c.pool.mu.Lock()
	c.pool.removeLocked(c.entry, ClosedByHolder)
	c.pool.mu.Unlock()
	return c.entry.end()
}

// CloseWrite sends end-of-file to the peer and leaves the other direction
// open. It is [errors.ErrUnsupported] where the connection below cannot.
// A later Put closes the connection.
func (c *Conn) CloseWrite() error {
	if !c.begin() {
		return c.refused()
	}
	defer c.end()
	if half, ok := c.entry.conn.(interface{ CloseWrite() error }); ok {
		c.spoil()
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SyscallConn gives access to the socket below, also under TLS, or
// [errors.ErrUnsupported] where there is none.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if !c.live() {
		return nil, net.ErrClosed
	}
	if c.entry.raw == nil {
		return nil, errors.ErrUnsupported
	}
	return c.entry.raw, nil
}

// LocalAddr implements net.Conn. It works on a dead handle too.
func (c *Conn) LocalAddr() net.Addr { return c.entry.conn.LocalAddr() }

// RemoteAddr implements net.Conn. It works on a dead handle too.
func (c *Conn) RemoteAddr() net.Addr { return c.entry.conn.RemoteAddr() }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	if !c.begin() {
		return c.refused()
	}
	defer c.end()
	return c.entry.conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if !c.begin() {
		return c.refused()
	}
	defer c.end()
	return c.entry.conn.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if !c.begin() {
		return c.refused()
	}
	defer c.end()
	return c.entry.conn.SetWriteDeadline(t)
}

// nothing reports whether conn is none: nil, or what a getter that failed returned.
func nothing(conn net.Conn) bool {
	c, ok := conn.(*Conn)
	return conn == nil || ok && c == nil
}

// handleBelow finds the pool's handle in conn or under its layers.
func handleBelow(conn net.Conn) *Conn {
	for conn != nil {
		if c, ok := conn.(*Conn); ok {
			return c
		}
		l, ok := conn.(layered)
		if !ok {
			return nil
		}
		conn = l.NetConn()
	}
	return nil
}
