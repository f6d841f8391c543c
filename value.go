package pool

import (
	"net"
	"time"
)

// SetValue keeps v with the connection, not with the handle: each later holder
// has it from [Conn.Value]. It is for what is built on a connection once, a
// client of a protocol or what a log-in brought. On a dead handle it does
// nothing. The pool never touches v: what needs an end of its own ends it in
// LocalConfig.Goodbye, or when its reads fail.
func (c *Conn) SetValue(v any) {
	if c.live() {
		c.entry.value.Store(&v)
	}
}

// Value returns what SetValue kept last, on this handle or a former one; nil if
// nothing was, or the handle is dead.
func (c *Conn) Value() any {
	if !c.live() {
		return nil
	}
	if v := c.entry.value.Load(); v != nil {
		return *v
	}
	return nil
}

// ValueOf returns the [Conn.Value] of conn, which is a *[Conn] or something on
// top of one that shows it by a method NetConn, if it is a T.
func ValueOf[T any](conn net.Conn) (value T, ok bool) {
	if c := handleBelow(conn); c != nil {
		value, ok = c.Value().(T)
	}
	return value, ok
}

// Age is how long ago the connection was made. It works on a dead handle too.
func (c *Conn) Age() time.Duration { return time.Since(c.entry.born) }

// Uses is how often the connection has been handed out so far.
func (c *Conn) Uses() int {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	return int(c.entry.uses)
}
