package datagram

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tunnelpool/pool/internal/shape"
)

// Why datagrams are dropped, beside net.ErrClosed when their flow has ended, and
// what the system reports of those that it could not send.
var (
	// ErrSlow: they come faster than they are taken.
	ErrSlow = errors.New("datagrams come faster than they are taken")
	// ErrRate: there are more than the rate allows.
	ErrRate = errors.New("more datagrams than the rate allows")
	// ErrTooMany: the service has as many flows as it may, or too many begin at once.
	ErrTooMany = errors.New("too many flows")
)

// Config is what the ends of a service's flows have in common.
type Config struct {
	// Idle is the silence, either way, after which this side ends a flow.
	Idle time.Duration
	// Welcome says whether a user may begin a flow on a port; nil: any may. It is
	// asked for every datagram that is no flow's. It must not block.
	Welcome func(user, port net.Addr) bool
	// Pass reports whether a datagram of that size may pass now; others are
	// dropped, since one that waits is worth less than one that comes later. Nil:
	// all may. It may be called from several goroutines at once.
	Pass func(way shape.Direction, size int) bool
	// Dropped is told of each datagram that did not get on, and why. It must not
	// block, and may be called from several goroutines at once.
	Dropped func(why error)
}

// outside is the socket's side of a flow.
type outside interface {
	send(datagram []byte) error
	// left: no more datagrams from outside are wanted, because the flow has ended
	// or was broken off. Once.
	left(brokenOff bool)
	// closed: nothing more is to be sent either. Once.
	closed()
}

// Conn is the end of a flow: Read yields what has come from outside, in the form
// of the stream, and Write sends the datagrams of such a stream there. What comes
// from outside while nobody reads is kept within bounds.
//
// It is an end of file when the flow has been silent for Config.Idle, and after
// CloseWrite: UDP has no half that could be left open.
type Conn struct {
	outside       outside
	local, remote net.Addr
	idle          time.Duration
	dropped       func(why error)
	pass          func(way shape.Direction, size int) bool // nil: all may

	begun  time.Time
	latest atomic.Int64 // when a datagram passed last, since begun
	expiry *time.Timer

	writing sync.Mutex // guards decoder
	decoder decoder

	mu       sync.Mutex // guards what follows
	changed  sync.Cond  // datagrams have come, a deadline or the end
	queue    queue
	readable func() // called when a read would not wait; see AwaitRead
	over     bool   // nothing more comes
	gone     bool   // closed
	limit    time.Time
	hurry    *time.Timer
}

func newConn(o outside, local, remote net.Addr, cfg Config) *Conn {
	c := &Conn{outside: o, local: local, remote: remote, idle: cfg.Idle, dropped: cfg.Dropped, pass: cfg.Pass, begun: time.Now()}
	c.changed.L = &c.mu
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expiry = time.AfterFunc(c.idle, c.expire)
	return c
}

// expire ends the flow, unless it was not silent all the time.
func (c *Conn) expire() {
	if left := c.idle - c.silence(); left > 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.over {
			c.expiry.Reset(left)
		}
		return
	}
	c.CloseWrite()
}

// silence is how long ago the last datagram passed, either way.
func (c *Conn) silence() time.Duration {
	return time.Since(c.begun) - time.Duration(c.latest.Load())
}

func (c *Conn) heard() { c.latest.Store(int64(time.Since(c.begun))) }

// receive takes a datagram in that came from outside.
func (c *Conn) receive(datagram []byte) {
	c.heard()
	if c.pass != nil && !c.pass(shape.FromEndpoint, len(datagram)) {
		c.dropped(ErrRate)
		return
	}
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		c.dropped(net.ErrClosed)
		return
	}
	lost := c.queue.add(datagram)
	c.wakeLocked()
	c.mu.Unlock()
	for range lost {
		c.dropped(ErrSlow)
	}
}

// Read implements net.Conn. It returns whole datagrams where b has room for one.
func (c *Conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.gone:
			return 0, net.ErrClosed
		case c.latedLocked():
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		case c.queue.len() > 0:
			return c.queue.take(b), nil
		case c.over:
			return 0, io.EOF
		}
		c.changed.Wait()
	}
}

func (c *Conn) latedLocked() bool { return !c.limit.IsZero() && !time.Now().Before(c.limit) }

// AwaitRead calls readable, once and in a goroutine of its own, as soon as a Read
// would not wait: for datagrams, the end, a deadline that has passed, Close.
// Until then there is no buffer. leave takes that back, and reports whether it was
// in time. Nobody else may wait meanwhile.
func (c *Conn) AwaitRead(readable func()) (leave func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queue.len() == 0 {
		c.queue.release()
	}
	c.readable = readable
	c.noteReadableLocked()
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		waited := c.readable != nil
		c.readable = nil
		return waited
	}
}

func (c *Conn) noteReadableLocked() {
	if readable := c.readable; readable != nil && (c.queue.len() > 0 || c.over || c.latedLocked()) {
		c.readable = nil
		go readable() // its own affair
	}
}

func (c *Conn) wakeLocked() {
	c.changed.Broadcast()
	c.noteReadableLocked()
}

// Write implements net.Conn: it sends the datagrams that end in b. One that
// cannot be sent is dropped. The error is that of a peer that breaks the rules,
// or that of a closed flow.
func (c *Conn) Write(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	gone := c.gone
	c.mu.Unlock()
	if gone {
		return 0, net.ErrClosed
	}
	c.heard()
	if err := c.decoder.feed(b, c.send); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (c *Conn) send(datagram []byte) {
	if c.pass != nil && !c.pass(shape.ToEndpoint, len(datagram)) {
		c.dropped(ErrRate)
		return
	}
	if err := c.outside.send(datagram); err != nil {
		c.dropped(err)
	}
}

// CloseWrite ends the flow: what came until now can be read, and then there is an
// end of file. What is under way the other way can be written until Close.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	first := c.endLocked()
	c.mu.Unlock()
	if first {
		c.outside.left(false)
	}
	return nil
}

// Close implements net.Conn. Unless the flow had ended before, it is broken off.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		return nil
	}
	c.gone = true
	first := c.endLocked()
	c.queue.release()
	if c.hurry != nil {
		c.hurry.Stop()
	}
	c.mu.Unlock()
	if first {
		c.outside.left(true)
	}
	c.outside.closed()
	return nil
}

// endLocked reports whether the flow had not ended yet.
func (c *Conn) endLocked() bool {
	first := !c.over
	c.over = true
	c.expiry.Stop()
	c.wakeLocked()
	return first
}

// LocalAddr implements net.Conn: the socket's.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn: whose flow it is.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return net.ErrClosed
	}
	c.limit = t
	if c.hurry != nil {
		c.hurry.Stop()
		c.hurry = nil
	}
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		c.hurry = time.AfterFunc(wait, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.wakeLocked()
		})
	}
	c.wakeLocked()
	return nil
}

// SetWriteDeadline implements net.Conn. No write waits for long: the system
// drops what it cannot send.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }
