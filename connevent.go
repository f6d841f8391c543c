package pool

import (
	"sync"
	"time"
)

// ConnEvent is something that happened to one connection of a pool, or to an
// attempt to get one more. Each change of a connection's state is one event:
// created, then by turns acquired and released, then evicted, from whichever state.
// So, whenever no call is under way, created less evicted are those that are idle,
// being checked or out, and acquired less released are those that are out or were
// evicted while they were.
type ConnEvent struct {
	// Time is when it happened. Seq counts the pool's events, 1, 2, 3 and so on, in
	// the order in which they happened. They are told by the goroutines whose calls
	// brought them about, so one may be told a moment before another that came
	// first: who needs their order has it from Seq.
	Time time.Time
	Seq  uint64

	Kind   ConnEventKind
	ID     string        // "" for a dial that failed
	Reason CloseReason   // of ConnEvicted
	Err    error         // of ConnFailed, and of ConnEvicted where Check or Discard brought one
	Age    time.Duration // since the connection was made
	Waited time.Duration // of ConnAcquired: as in Stats.AcquireTime, 0 for one that was idle
	Uses   int           // hand-outs so far, that of a ConnAcquired included
}

// ConnEventKind is what happened.
type ConnEventKind uint8

const (
	ConnCreated  ConnEventKind = iota // it entered the pool, ready for a holder
	ConnAcquired                      // a holder has it
	ConnReleased                      // its holder put it back, and it is idle or the next holder's
	ConnEvicted                       // it left the pool and is closed, see Reason
	ConnFailed                        // it never entered: the dial, TLS, Setup, or on a server the admission failed
)

func (k ConnEventKind) String() string {
	switch k {
	case ConnCreated:
		return "created"
	case ConnAcquired:
		return "acquired"
	case ConnReleased:
		return "released"
	case ConnEvicted:
		return "evicted"
	case ConnFailed:
		return "failed"
	}
	return "unknown"
}

// bookLock is the lock of a pool's books. What is noted under it is told when it
// is unlocked: so each change has its event, whoever makes it, and none is told
// under the lock.
type bookLock struct {
	sync.Mutex
	tell func(ConnEvent) // never changes; nil: nobody wants to know

	seq   uint64      // of the last event; guarded by the lock, as is
	noted []ConnEvent // since the last unlock
}

// Unlock unlocks, and tells what happened since Lock.
func (l *bookLock) Unlock() {
	if l.noted != nil {
		l.unlockAndTell()
		return
	}
	l.Mutex.Unlock()
}

func (l *bookLock) unlockAndTell() {
	noted := l.noted
	l.noted = nil
	l.Mutex.Unlock()
	for _, event := range noted {
		l.tell(event)
	}
}

// noteLocked completes an event with what is known of its connection. The callers
// ask first whether anybody wants to know.
func (l *bookLock) noteLocked(e *entry, event ConnEvent) {
	l.seq++
	event.Seq, event.Time = l.seq, time.Now()
	if e != nil {
		event.ID, event.Age, event.Uses = e.text, event.Time.Sub(e.born), int(e.uses)
	}
	l.noted = append(l.noted, event)
}

// createdLocked books a connection that enters the pool.
func (p *Pool) createdLocked(e *entry) {
	p.count.created++
	if p.mu.tell != nil {
		p.mu.noteLocked(e, ConnEvent{Kind: ConnCreated})
	}
}

// acquired books that c's holder has it, and what that took since he asked; the zero
// time says that it was idle. What ended c before, Flush for one, has told it already.
func (p *Pool) acquired(c *Conn, asked time.Time) {
	if asked.IsZero() && p.mu.tell == nil {
		return
	}
	var took time.Duration
	if !asked.IsZero() {
		took = time.Since(asked)
	}
	p.mu.Lock()
	p.count.acquireTime += took
	p.acquiredLocked(c.entry, took)
	p.mu.Unlock()
}

// acquiredLocked tells that e is in its holder's hands, unless that was told. It
// is not when it is handed out: e may still be found unfit then.
func (p *Pool) acquiredLocked(e *entry, took time.Duration) {
	if e.untold {
		e.untold = false
		p.mu.noteLocked(e, ConnEvent{Kind: ConnAcquired, Waited: took})
	}
}

// releasedLocked tells that e's holder put it back.
func (p *Pool) releasedLocked(e *entry) {
	if p.mu.tell != nil {
		p.acquiredLocked(e, 0) // by one who gave up when it came
		p.mu.noteLocked(e, ConnEvent{Kind: ConnReleased})
	}
}

// evictedLocked tells that e left the books, and the holder it had.
func (p *Pool) evictedLocked(e *entry, why CloseReason, err error) {
	if p.mu.tell != nil {
		p.acquiredLocked(e, 0)
		p.mu.noteLocked(e, ConnEvent{Kind: ConnEvicted, Reason: why, Err: err})
	}
}

// failedLocked tells of a connection that never entered the books; e is nil where
// there was none yet.
func (p *Pool) failedLocked(e *entry, err error) {
	if p.mu.tell != nil {
		p.mu.noteLocked(e, ConnEvent{Kind: ConnFailed, Err: err})
	}
}
