package pool

import (
	"bufio"
	"net"
	"net/textproto"
	"time"
)

// SetValue keeps v with the connection, not with the handle: each later holder
// has it from [Conn.Value]. It is for what is built on a connection once, a
// client of a protocol or what a log-in brought. On a dead handle it does
// nothing. The pool never ends v: what needs an end of its own ends it in
// LocalConfig.Goodbye, or when its reads fail.
//
// A reader with a buffer, made anew by each holder, may take bytes with it that are
// the next one's. So it is kept here too, and a [Pool.Put] closes the connection
// when v holds bytes: a *bufio.Reader, *bufio.Writer, *bufio.ReadWriter,
// *textproto.Conn, or whatever tells of them by a method Buffered() int, which has
// to be fit for use between two holders. A reader inside of anything else is its
// user's to look at: what it still holds is the next holder's first answer.
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

// holdsBytes reports whether what is kept with the connection has bytes in it that
// nobody has read, or that were not sent.
func (e *entry) holdsBytes() bool {
	kept := e.value.Load()
	if kept == nil || e.readElsewhere() {
		return false
	}
	switch v := (*kept).(type) {
	case interface{ Buffered() int }:
		return v.Buffered() > 0
	case *bufio.ReadWriter:
		return v.Reader.Buffered() > 0 || v.Writer.Buffered() > 0
	case *textproto.Conn:
		return v.R.Buffered() > 0 || v.W.Buffered() > 0
	}
	return false
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
