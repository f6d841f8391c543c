package pool

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// entry is the pool's record of one connection. Its fields are guarded by the
// pool's lock, but for those that never change.
type entry struct {
	id   ID              // never changes once set
	text string          // the ID as text, made once and not at every hand-out
	conn net.Conn        // never changes; secured
	raw  syscall.RawConn // never changes; nil where the socket is out of reach
	bulk *batch          // never changes; below TLS, nil where there is none

	userTimeout time.Duration // never changes; TCP_USER_TIMEOUT while idle, 0 for none
	born        time.Time     // never changes; when the connection was made

	own   *Conn               // never changes; what a local pool's hooks have, else nil
	value atomic.Pointer[any] // what Conn.SetValue keeps; no lock

	state    entryState
	reserved bool   // out, with its idle place kept
	single   bool   // made for one holder: never idle
	unused   bool   // out, and coming back without a use
	awaited  bool   // out, and its holder had to wait for it
	untold   bool   // out, and who watches the pool is still to hear of it
	cleaned  bool   // being checked, and to be closed after that
	uses     uint64 // hand-outs so far; tells one idle spell from the next
	holder   *Conn  // who has it, while out

	expires       time.Time // its own share of Limits.MaxAge; zero for none, and before it came in
	since         time.Time // when it became idle, or went out
	provenAt      time.Time // when it last became idle: alive then, for certain
	readableSince time.Time // client role: since when an idle one has unread bytes
	unwatched     bool      // the sweeper is to look at it: it became idle, or had something to say

	prev, next *entry // idle order

	share *share // never changes; whose place it takes once it is in the pool, nil for none

	// The budget's lock guards these.
	counted        bool // it takes a place
	leaving        bool // it makes way, or is about to
	ordered        bool // it is in the order of all that are idle
	older, younger *entry
}

// named gives e its ID, once, before anybody else knows of it.
func (e *entry) named(id ID) { e.id, e.text = id, id.String() }

// read and write are the holder's.
func (e *entry) read(b []byte) (int, error) {
	if e.bulk == nil {
		return e.conn.Read(b)
	}
	return e.bulk.readThrough(e.conn, b)
}

func (e *entry) write(b []byte) (int, error) {
	if e.bulk == nil || len(b) <= aFew {
		return e.conn.Write(b)
	}
	return e.bulk.writeThrough(e.conn, b)
}

// close ends the connection in order, unless a write hangs: then TLS could not
// say goodbye before that has ended.
func (e *entry) close() error {
	if e.bulk != nil && e.bulk.flushing.Load() {
		return e.bulk.Close()
	}
	return e.conn.Close()
}

// end is close, and cut closeBelowTLS, for connections that were in the pool's
// books: they give their place in a group back.
func (e *entry) end() error {
	err := e.close()
	e.share.closed(e)
	return err
}

func (e *entry) cut() {
	closeBelowTLS(e.conn)
	e.share.closed(e)
}

type entryState uint8

const (
	stateAdmitting entryState = iota // its ID is being told to the peer
	stateIdle
	stateChecking // still in the idle list, for its place there
	stateOut
	stateGone
)

func newEntry(conn net.Conn) *entry {
	raw := rawConn(conn)
	return &entry{conn: conn, raw: raw, bulk: batchBelow(conn), userTimeout: userTimeoutOf(raw), born: time.Now()}
}

// idleList holds the idle connections, those that became idle last first. Among
// them are those that are being checked, which len does not count.
type idleList struct {
	newest, oldest *entry
	len            int
	budget         *budget // of a group's pools together; nil: none
}

func (l *idleList) pushNewest(e *entry) {
	e.next = l.newest
	if l.newest == nil {
		l.oldest = e
	} else {
		l.newest.prev = e
	}
	l.newest = e
	l.len++
	l.budget.idled(e)
}

// setAside keeps e's place, and counts it no more; bringBack undoes it.
func (l *idleList) setAside(e *entry) {
	e.state = stateChecking
	l.len--
}

func (l *idleList) bringBack(e *entry) {
	e.state = stateIdle
	l.len++
	l.budget.idled(e)
}

// remove takes out one that is idle, unlink one that is set aside.
func (l *idleList) remove(e *entry) {
	l.unlink(e)
	l.len--
}

func (l *idleList) unlink(e *entry) {
	if e.prev == nil {
		l.newest = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.oldest = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
	l.budget.taken(e)
}

// goneSet remembers the IDs of connections that ended, so that asking for one
// fails at once instead of waiting for it. It is bounded: the oldest are
// forgotten, and then cost a wait.
type goneSet struct {
	ring []ID
	next int
	set  map[ID]struct{}
}

const goneMemory = 1024

func (g *goneSet) add(id ID) {
	if g.has(id) {
		return // a server gave it anew; one place is enough
	}
	if g.set == nil {
		g.set = make(map[ID]struct{})
	}
	if len(g.ring) < goneMemory {
		g.ring = append(g.ring, id)
	} else {
		delete(g.set, g.ring[g.next])
		g.ring[g.next] = id
		g.next = (g.next + 1) % goneMemory
	}
	g.set[id] = struct{}{}
}

func (g *goneSet) has(id ID) bool {
	_, ok := g.set[id]
	return ok
}

// layered is a connection on top of another, as *tls.Conn is.
type layered interface{ NetConn() net.Conn }

// rawConn finds the socket at the bottom of conn, or nil.
func rawConn(conn net.Conn) syscall.RawConn {
	for conn != nil {
		if sc, ok := conn.(syscall.Conn); ok {
			if raw, err := sc.SyscallConn(); err == nil {
				return raw
			}
			return nil
		}
		l, ok := conn.(layered)
		if !ok {
			return nil
		}
		conn = l.NetConn()
	}
	return nil
}

// closeBelowTLS closes without a close_notify. An alert would look like life
// to a peek on the other side, and writing one to a dead peer can block for
// seconds.
func closeBelowTLS(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	conn.Close()
}

// hasBufferedBytes reports whether a layer above the socket holds bytes that
// were read from it and not delivered: a peek at the socket cannot see those.
// An expired deadline makes the read give what is buffered, and nothing else. It
// leaves both deadlines set.
func hasBufferedBytes(conn net.Conn) bool {
	if c, ok := conn.(*Conn); ok {
		conn = c.entry.conn
	}
	if _, ok := conn.(layered); !ok {
		return false
	}
	if conn.SetReadDeadline(aLongTimeAgo) != nil {
		return false
	}
	answerSoon(conn)
	var one [1]byte
	n, err := conn.Read(one[:])
	return n > 0 || !isTimeout(err)
}

var aLongTimeAgo = time.Unix(1, 0)
