package pool

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Pool keeps connections that are dialed, secured and named before anybody asks for
// one. [NewLocal] makes one on its own, to any server. Of a pair [NewServer] makes
// the end that hands connections out to whoever comes, [NewClient] the end that
// dials them and takes each by its ID. All methods are safe for concurrent use.
//
// A Pool owns its idle connections. One that is handed out belongs to its
// holder until [Pool.Put], [Pool.Discard] or [Conn.Close].
type Pool struct {
	limits       Limits
	pairTimeout  time.Duration // how long an ID may be on its way
	handsOut     bool          // the other side takes by ID: bytes on an idle connection are a death sentence
	ids          idForm        // how IDs go over the wire; the same at both ends
	onWait       func(int)     // may be nil
	look         *look         // a pair's Check; may be nil
	awaitRunning bool          // holders say when the user timeout may be lifted
	log          Logger
	bad          error // a configuration that the seed constructors cannot refuse

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine that Close waits for

	server *acceptSide // nil on the client role
	client *dialSide   // nil on the server role
	local  *localSide  // beside client where the other side knows nothing of pools
	share  *share      // of what a group's pools have together; nil: no such bound
	room   *room       // of a group; nil: none

	errorCount atomic.Int64 // the seed API's counter; only AddError moves it

	// mu guards what follows. No I/O and no callback happens under it.
	mu        bookLock
	phase     phase
	running   bool                // a Run is under way
	byID      map[ID]*entry       // admitting, idle and out
	idle      idleList            // those that became idle last first
	checking  int                 // of those, being checked and not to be had
	admitting int                 // IDs reserved and not yet known to the peer
	reserved  int                 // of those out, how many have their idle place kept
	singles   int                 // of those out, how many were made for one holder
	waiters   waiterQueue         // Get, in order of arrival
	takers    map[ID]*waiterQueue // Take, for IDs on their way
	waiting   int                 // how many are in those two
	readying  []*readiness        // WaitReady, those who want the least first
	gone      goneSet             // IDs seen and gone
	count     counters
	emptied   chan struct{} // closed when the last one out is back; made by Drain
}

type phase uint8

const (
	phaseOpen phase = iota
	phaseDraining
	phaseClosed
)

func newPool(log Logger, limits Limits) *Pool {
	ctx, cancel := context.WithCancel(context.Background())
	return &Pool{
		limits: limits,
		log:    orSilent(log),
		ctx:    ctx,
		cancel: cancel,
		byID:   make(map[ID]*entry),
		takers: make(map[ID]*waiterQueue),
		count:  counters{closed: make(map[CloseReason]uint64)},
	}
}

// broken returns a pool that answers everything with err. The seed
// constructors have no other way to refuse a configuration.
func broken(err error) *Pool {
	p := newPool(nil, Limits{})
	p.bad = err
	p.cancel()
	return p
}

// refusalLocked says why the pool gives nothing out, or nil.
func (p *Pool) refusalLocked() error {
	switch {
	case p.bad != nil:
		return p.bad
	case p.phase != phaseOpen:
		return ErrClosed
	}
	return nil
}

// admission is what became of a connection that was offered to the pool.
type admission uint8

const (
	delivered admission = iota // a waiter has it
	kept                       // it is idle
	refusedClosed
	refusedFull
)

// roomLocked reports whether one more connection may become idle. Places
// promised to those on their way in count as taken.
func (p *Pool) roomLocked() bool {
	return p.idle.len+p.checking+p.reserved+p.admitting < p.limits.MaxCap
}

// outLocked is how many connections are in holders' hands.
func (p *Pool) outLocked() int { return len(p.byID) - p.idle.len - p.checking - p.admitting }

// offerLocked is the single way in, for new connections and returned ones.
// On refusal the entry is out of the pool's books, and the caller closes its
// connection after unlocking.
func (p *Pool) offerLocked(e *entry, now time.Time) admission {
	if p.phase != phaseOpen {
		return refusedClosed
	}
	if e.reserved {
		e.reserved = false
		p.reserved--
	} else if !p.roomLocked() && p.waiters.len == 0 && p.takers[e.id] == nil {
		return refusedFull
	}
	if e.state == stateOut {
		defer p.room.unpin()
	}
	p.ageLocked(e)
	switch e.state {
	case stateAdmitting:
		p.createdLocked(e)
	case stateOut:
		p.releasedLocked(e)
	}
	e.since = now
	if !e.unused {
		e.provenAt = now
	}
	e.unused = false
	if q := p.takers[e.id]; q != nil {
		w := q.pop()
		if q.len == 0 {
			delete(p.takers, e.id)
		}
		p.deliverLocked(w, e, now)
		p.client.tookLocked(p, now)
		return delivered
	}
	if w := p.waiters.pop(); w != nil {
		p.deliverLocked(w, e, now)
		p.share.trim(&p.waiters)
		return delivered
	}
	e.state = stateIdle
	e.holder = nil
	e.readableSince = time.Time{}
	e.unwatched = true
	p.idle.pushNewest(e)
	p.readyLocked()
	return kept
}

func (p *Pool) deliverLocked(w *waiter, e *entry, now time.Time) {
	w.conn = p.handOutLocked(e, now)
	e.awaited = true
	p.waiting--
	p.count.delivered++
	p.count.waits.Observe(now.Sub(w.since))
	close(w.ready)
}

// failLocked gives a waiter that is in no queue any more an error.
func (p *Pool) failLocked(w *waiter, err error) {
	w.err = err
	p.waiting--
	p.count.waits.Observe(time.Since(w.since))
	close(w.ready)
}

// handOutLocked makes e's connection its next holder's. e is in no list.
func (p *Pool) handOutLocked(e *entry, now time.Time) *Conn {
	p.room.pin()
	e.state = stateOut
	e.since = now
	e.untold = p.mu.tell != nil
	e.awaited = false
	e.uses++
	e.holder = &Conn{entry: e, pool: p}
	p.count.handedOut++
	return e.holder
}

// removeLocked strikes e from the books. Its connection is the caller's to
// close, after unlocking.
func (p *Pool) removeLocked(e *entry, why CloseReason) { p.removeFaultyLocked(e, why, nil) }

// removeFaultyLocked is removeLocked with the error that showed what is wrong with e.
func (p *Pool) removeFaultyLocked(e *entry, why CloseReason, err error) {
	switch e.state {
	case stateGone, stateAdmitting: // in no books: not any more, or not yet
		return
	case stateIdle:
		p.idle.remove(e)
	case stateChecking:
		p.idle.unlink(e)
		p.checking--
	case stateOut:
		p.room.unpin()
		if e.single {
			p.singles--
		}
		if e.reserved {
			e.reserved = false
			p.reserved--
		}
	}
	e.state = stateGone
	e.holder = nil
	delete(p.byID, e.id)
	p.gone.add(e.id)
	p.failTakersLocked(e.id)
	p.count.closed[why]++
	p.evictedLocked(e, why, err)
	p.noteEmptyLocked()
	if p.local != nil || why == ClosedIdle || why == ClosedAge || why == ClosedUses || p.waiters.len+len(p.readying) > 0 {
		p.client.wakeLocked() // one less is kept, and MaxOpen may have room for another
	}
}

// noteEmptyLocked tells a Drain that the last connection is gone.
func (p *Pool) noteEmptyLocked() {
	if p.emptied != nil && len(p.byID) == 0 {
		close(p.emptied)
		p.emptied = nil
	}
}

// failTakersLocked tells those who wait for id that it will not come.
func (p *Pool) failTakersLocked(id ID) {
	q := p.takers[id]
	if q == nil {
		return
	}
	delete(p.takers, id)
	for w := q.pop(); w != nil; w = q.pop() {
		p.failLocked(w, ErrNotFound)
	}
}

// Put gives a connection back. Alive, with both directions open, no call in
// progress on it, and no unread bytes but on a client pool, it becomes idle again or
// goes straight to a waiter; otherwise, or when the pool is full or its [Limits] let
// it be used no more, it is closed. The handle is dead afterwards either way. A
// connection that is not out of this pool under this ID is closed too. conn may be
// a wrapper of the handle that shows it by a method NetConn; any other wrapper is
// closed as a stranger. Put does not block.
func (p *Pool) Put(id string, conn net.Conn) {
	if nothing(conn) {
		return
	}
	c := handleBelow(conn)
	if c == nil || !p.handedOut(c, id) {
		conn.Close()
		return
	}
	e := c.entry
	if !c.begin() {
		return // put or closed before: whoever holds the connection now keeps it
	}
	// A call in progress decides before the look at buffered bytes: that look
	// would end a blocked Read, which then could pass for none, or wait for it.
	e.noteBackground()
	clean := c.alone() && !(p.handsOut && (e.leftover(c, conn) || e.holdsBytes())) && !e.ownSpoilt()
	c.end()
	alone, mine := c.retire()
	if !mine {
		return
	}
	e.conn.SetDeadline(time.Time{})
	why := ClosedUnfit
	if clean && alone {
		c.rearm()
		why = ClosedDead
		if p.fit(e) {
			why = p.putBack(e)
		}
	}
	if why == "" {
		return
	}
	p.mu.Lock()
	p.removeLocked(e, why)
	if why != ClosedUnfit && why != ClosedDead {
		p.partAndUnlock(e)
		return
	}
	p.mu.Unlock()
	e.cut()
}

// putBack offers a returned connection; it answers why it must be closed, or "".
func (p *Pool) putBack(e *entry) CloseReason {
	now := clock()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case e.state != stateOut:
		return "" // flushed meanwhile
	case e.single:
		return ClosedSingle
	}
	if why := p.spentLocked(e, now); why != "" {
		return why
	}
	if p.phase == phaseOpen && p.share.yields(e, p.waiters.len > 0 || p.takers[e.id] != nil, now) {
		return ClosedMadeWay
	}
	admitted := p.offerLocked(e, now)
	if p.client != nil && (admitted == kept || admitted == delivered) {
		p.client.planner.Returned(now, p.idle.len)
	}
	switch admitted {
	case refusedFull:
		return ClosedFull
	case refusedClosed:
		return ClosedShutdown
	}
	return ""
}

// Reserve keeps an idle place for a connection that is out, so that the
// following Put cannot refuse it for want of room. It answers false when the
// pool is full or ending, when its [Limits] let c be used no more, or when c is
// dead or another pool's. Reserving twice is once. Whoever must promise the peer
// to keep a connection reserves before the promise. The place is given up by Put
// or Close.
func (p *Pool) Reserve(c *Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := c.entry
	switch {
	case c.pool != p || p.phase != phaseOpen || e.holder != c:
		return false
	case e.reserved:
		return true
	case !p.roomLocked() || p.spentLocked(e, time.Now()) != "":
		return false
	}
	e.reserved = true
	p.reserved++
	return true
}
