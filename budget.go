package pool

import (
	"container/heap"
	"sync"
	"time"
)

// shareTurn is for how long a pool whose own takers wait keeps the connections
// that come back to it, while those of another pool wait for a first one. A
// connection that changes pools costs a goodbye and a dial, so that this should
// not happen at each use.
const shareTurn = 50 * time.Millisecond

// budget bounds the connections of several pools together. A connection counts from
// the moment its dial begins until it is closed, goodbye included, so that the
// servers never see more; those made for one holder do not count.
//
// When it is used up, pools whose takers wait are served one connection after the
// other: first whose taker has been waiting for longest. For them the connection that has
// been idle for longest in any pool makes way, or the next that is put back.
// Whoever dials ahead of takers gets what is free, and nobody makes way for that.
type budget struct {
	max int // never changes

	// mu guards what follows, and what says so in share and entry. It may be taken
	// under a pool's lock, and no other lock is taken under it.
	mu      sync.Mutex
	open    int       // places taken: by connections, by dials, and by grants
	lru     idleOrder // the idle connections of all pools
	wanting shareHeap // pools whose takers wait, who comes next first; empty while a place is free
	wanted  int       // how many places they want
	leaving int       // connections that make way, until they are closed
}

// share is one pool's part in a budget. A nil share is that of a pool on its own.
// The budget's lock guards what changes.
type share struct {
	budget *budget       // never changes
	pool   *Pool         // never changes
	wake   chan struct{} // never changes; the pool's, for a pass of its maintainer

	held    int       // places taken
	granted int       // of those, the ones for which no dial has begun yet
	wants   int       // places its takers wait for, beyond those
	since   time.Time // when it began to want, or was granted one last; zero while it wants none
	oldest  time.Time // while wants > 0: since when its first taker has been waiting
	index   int       // in wanting, while wants > 0
}

// plan is Planner.Plan within the budget, for a pool with these waiters. The
// pool's lock is held.
func (s *share) plan(now time.Time, planner *Planner, stock Stock, waiters *waiterQueue) Step {
	if s == nil {
		return planner.Plan(now, stock)
	}
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unlistLocked(s)
	// Grants are for takers, and some may have been served otherwise.
	b.releaseLocked(s, max(s.granted-planner.needed(stock), 0), 0)
	stock.shared, stock.spare = true, s.granted+max(b.max-b.open, 0)
	step := planner.Plan(now, stock)
	used := min(step.Dials, s.granted)
	b.open += step.Dials - used
	s.held += step.Dials - used
	b.releaseLocked(s, s.granted-used, used)
	if step.short == 0 {
		s.since = time.Time{}
		return step
	}
	if s.since.IsZero() {
		s.since = now
	}
	s.wants, s.oldest = step.short, waiters.oldest()
	b.wanted += s.wants
	heap.Push(&b.wanting, s)
	b.grantLocked(now)
	return step
}

// releaseLocked gives unused grants back, and forgets those that became dials.
func (b *budget) releaseLocked(s *share, unused, begun int) {
	s.granted -= unused + begun
	b.freeLocked(s, unused)
}

// freeLocked gives n places of s back, to those who wait for one.
func (b *budget) freeLocked(s *share, n int) {
	if n == 0 {
		return
	}
	b.open -= n
	s.held -= n
	if s.wants > 0 {
		heap.Fix(&b.wanting, s.index)
	}
	b.grantLocked(time.Now())
}

// grantLocked gives what is free to those who want it, one each in turn.
func (b *budget) grantLocked(now time.Time) {
	for b.open < b.max && len(b.wanting) > 0 {
		s := b.wanting[0]
		b.open++
		b.wanted--
		s.held++
		s.granted++
		s.wants--
		s.since = now
		if s.wants == 0 {
			heap.Pop(&b.wanting)
		} else {
			heap.Fix(&b.wanting, 0)
		}
		s.nudge()
	}
}

// unlistLocked has s want nothing.
func (b *budget) unlistLocked(s *share) {
	if s.wants > 0 {
		heap.Remove(&b.wanting, s.index)
		b.wanted -= s.wants
		s.wants = 0
	}
}

// nudge asks for a pass of the pool's maintainer. It needs no lock.
func (s *share) nudge() {
	select {
	case s.wake <- struct{}{}:
	default: // a pass is on its way already
	}
}

// trim notes that one of the pool's takers does not wait any more. The pool's lock
// is held.
func (s *share) trim(waiters *waiterQueue) {
	if s == nil {
		return
	}
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case s.wants == 0:
	case waiters.len == 0:
		b.unlistLocked(s)
	default:
		surplus := max(s.wants-waiters.len, 0)
		b.wanted -= surplus
		s.wants -= surplus
		s.oldest = waiters.oldest()
		heap.Fix(&b.wanting, s.index)
	}
}

// quit gives up what the pool was granted and wants: it dials no more.
func (s *share) quit() {
	if s == nil {
		return
	}
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unlistLocked(s)
	b.releaseLocked(s, s.granted, 0)
}

// dialFailed gives the place of a dial back that brought nothing.
func (s *share) dialFailed() {
	if s == nil {
		return
	}
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	s.budget.freeLocked(s, 1)
}

// counts gives a connection that came into the pool the place of its dial. The
// pool's lock is held.
func (s *share) counts(e *entry) {
	if s == nil {
		return
	}
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	e.counted = true
}

// closed gives the place of a connection back, once.
func (s *share) closed(e *entry) {
	if s == nil {
		return
	}
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if !e.counted {
		return
	}
	e.counted = false
	b.staysLocked(e)
	b.freeLocked(s, 1)
}

// yields reports whether a connection that is put back is to make way: busy says
// that takers of its own pool wait for it. They keep it, unless others have been
// waiting for a turn with less, or for two with nothing. The pool's lock is held.
func (s *share) yields(e *entry, busy bool, now time.Time) bool {
	if s == nil {
		return false
	}
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wanted <= b.leaving || e.leaving || b.wanting[0] == s {
		return false
	}
	if busy {
		next := b.wanting[0]
		waited, coming := now.Sub(next.since), next.held+b.leaving
		richer := waited >= shareTurn && s.held > coming+1
		empty := waited >= 2*shareTurn && coming == 0
		if !richer && !empty {
			return false
		}
	}
	e.leaving = true
	b.leaving++
	return true
}

// makeRoom has idle connections make way for those whose takers wait. No lock is
// held.
func (b *budget) makeRoom() {
	for {
		b.mu.Lock()
		e := b.nextToLeaveLocked()
		b.mu.Unlock()
		if e == nil {
			return
		}
		if !e.share.pool.makeWay(e) {
			b.mu.Lock()
			b.staysLocked(e)
			b.mu.Unlock()
		}
	}
}

// nextToLeaveLocked picks the connection that has been idle for longest, if one is
// to make way. It is in no order any more.
func (b *budget) nextToLeaveLocked() *entry {
	if b.wanted <= b.leaving {
		return nil
	}
	e := b.lru.oldest
	for e != nil && (e.leaving || e.share == b.wanting[0]) { // those are few
		e = e.younger
	}
	if e != nil {
		b.lru.remove(e)
		e.leaving = true
		b.leaving++
	}
	return e
}

// staysLocked undoes that e was to make way, or notes that it has.
func (b *budget) staysLocked(e *entry) {
	if e.leaving {
		e.leaving = false
		b.leaving--
	}
}

// idled and taken follow what a pool's idle list does with a connection. One that
// is being checked keeps its place; it does not make way then, and is told of
// anew after that. The pool's lock is held. A nil budget is that of a pool on
// its own.
func (b *budget) idled(e *entry) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lru.push(e)
	if b.wanted > b.leaving {
		b.wanting[0].nudge() // to look for what could make way
	}
}

func (b *budget) taken(e *entry) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lru.remove(e)
}

// places is how many are taken: by connections until they are closed, dials and
// grants.
func (b *budget) places() int {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}

// makeWay closes a connection in order, if it is still idle, for another pool.
func (p *Pool) makeWay(e *entry) bool {
	p.mu.Lock()
	if e.state != stateIdle {
		p.mu.Unlock()
		return false
	}
	p.removeLocked(e, ClosedMadeWay)
	p.partAndUnlock(e)
	return true
}
