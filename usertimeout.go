package pool

import (
	"sync"
	"syscall"
	"time"
)

// TCP_USER_TIMEOUT bounds how long what was written may stay without an
// acknowledgement, and how long a peer's window may stay shut. Without it the
// kernel repeats bytes to a peer that is gone for a quarter of an hour. It is
// set on connections that carry no stream: idle ones, control connections, and
// those handed out until their holder knows that the peer is there. A running
// stream must not have it: a healthy peer that reads slowly keeps its window
// shut for as long as it likes. Only Linux has it; elsewhere all this does
// nothing.

// userTimeout is when keep-alive probes give up too. On a connection with a user
// timeout the kernel does not count them: it ends one that has been silent for so
// long while a probe is unanswered. Probes begin after keepAlive at the latest,
// so that a single lost one ends nothing.
func userTimeout(keepAlive time.Duration) time.Duration { return 2 * keepAlive }

// MarkRunning tells that the peer is there, and that from now on the stream may
// pause for as long as its reader likes: on Linux it lifts TCP_USER_TIMEOUT.
// On a server [Pool.Put] sets it again. It is needed only where the pool's configuration
// says AwaitRunning, and does nothing on a dead handle, the second time, or
// without a socket below.
func (c *Conn) MarkRunning() {
	if c.entry.userTimeout == 0 || !c.begin() {
		return
	}
	defer c.end()
	if c.use.Or(connRunning)&connRunning == 0 {
		setUserTimeout(c.entry.raw, 0)
	}
}

// handOver readies a connection for its holder. No lock is held: it may cost a
// system call.
func (p *Pool) handOver(c *Conn) *Conn {
	if !p.awaitRunning {
		c.MarkRunning()
	}
	return c
}

// rearm gives a connection that ran its user timeout back, for the next idle
// spell. Where it is taken by ID it stays lifted: what the holder wrote last may
// wait there for a reader at the other end that pauses, and that side writes
// nothing while it is idle.
func (c *Conn) rearm() {
	switch {
	case c.use.Load()&connRunning == 0:
	case c.pool.handsOut:
		setUserTimeout(c.entry.raw, c.entry.userTimeout)
	default:
		c.entry.userTimeout = 0 // the next holder needs not lift it
	}
}

// userTimeoutCall carries one system call through RawConn.Control. Pooled for
// the same reason as probeCall.
type userTimeoutCall struct {
	millis int
	set    func(fd uintptr)
}

var userTimeoutCalls = sync.Pool{New: func() any {
	c := new(userTimeoutCall)
	c.set = func(fd uintptr) { writeUserTimeout(fd, c.millis) }
	return c
}}

// setUserTimeout sets the timeout of a socket, 0 for none. One that refuses
// works without.
func setUserTimeout(raw syscall.RawConn, d time.Duration) {
	c := userTimeoutCalls.Get().(*userTimeoutCall)
	defer userTimeoutCalls.Put(c)
	c.millis = int(d.Milliseconds())
	_ = raw.Control(c.set)
}

// userTimeoutOf reads it; 0 for none, or without a socket.
func userTimeoutOf(raw syscall.RawConn) (d time.Duration) {
	if raw != nil {
		_ = raw.Control(func(fd uintptr) { d = time.Duration(readUserTimeout(fd)) * time.Millisecond })
	}
	return d
}
