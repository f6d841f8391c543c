package pool

import (
	"math/rand/v2"
	"time"
)

// ageSpread is which part of MaxAge the bounds of single connections are spread
// over, so that those made together are not all renewed at one moment.
const ageSpread = 0.2

// lifetime is one connection's own bound; part, from 0 to 1, tells them apart.
func lifetime(maxAge time.Duration, part float64) time.Duration {
	return maxAge - time.Duration(ageSpread*part*float64(maxAge))
}

// ageLocked gives e its bound, once, when it first comes in.
func (p *Pool) ageLocked(e *entry) {
	if p.limits.MaxAge > 0 && e.expires.IsZero() {
		e.expires = e.born.Add(lifetime(p.limits.MaxAge, rand.Float64()))
	}
}

// expired reports whether e has reached its bound.
func (e *entry) expired(now time.Time) bool {
	return !e.expires.IsZero() && !now.Before(e.expires)
}

// spentLocked says why e is not to be used again, or "".
func (p *Pool) spentLocked(e *entry, now time.Time) CloseReason {
	switch {
	case p.limits.MaxUses > 0 && e.uses >= uint64(p.limits.MaxUses):
		return ClosedUses
	case e.expired(now):
		return ClosedAge
	}
	return ""
}

// expireLocked strikes an idle connection from the books if it has reached its
// bound. It is the caller's to close then, after unlocking.
func (p *Pool) expireLocked(e *entry, now time.Time) bool {
	if !e.expired(now) {
		return false
	}
	p.removeLocked(e, ClosedAge)
	return true
}

// nextLocked is the idle connection that is handed out next, nil for none. It
// passes those by that are being checked, which are few.
func (p *Pool) nextLocked() *entry {
	e := p.idle.newest
	if p.limits.Order == OldestFirst {
		e = p.idle.oldest
	}
	for e != nil && e.state == stateChecking {
		if p.limits.Order == OldestFirst {
			e = e.prev
		} else {
			e = e.next
		}
	}
	return e
}

// collect notes the idle connections that are not watched, and those that a Check
// is to prove alive again; it strikes from the books and returns those that are too
// old, unused for too long, or too many. It is the one walk over all of them.
func (s *sweeper) collect(now time.Time) (doomed []*entry) {
	p := s.pool
	looks := p.local.looks()
	p.mu.Lock()
	defer p.mu.Unlock()
	var unused []*entry
	s.items, s.due = s.items[:0], nil // what was due is its checkers'
	for e := p.idle.oldest; e != nil; {
		newer := e.prev
		switch {
		case e.state != stateIdle: // being checked
			e = newer
			continue
		case e.expired(now):
			doomed = append(doomed, e)
			p.removeLocked(e, ClosedAge)
			e = newer
			continue
		case p.limits.IdleTimeout > 0 && p.idle.len-len(unused) > p.limits.MinCap && now.Sub(e.since) >= p.limits.IdleTimeout:
			unused = append(unused, e)
		}
		if looks && now.Sub(e.provenAt) >= p.local.cfg.CheckEvery {
			s.due = append(s.due, sweepItem{e, e.uses})
		}
		if s.watch == nil || e.unwatched {
			e.unwatched = false
			s.items = append(s.items, sweepItem{e, e.uses})
		}
		e = newer
	}
	doomed = append(doomed, p.detachUnusedLocked(unused)...)
	return append(doomed, p.detachSurplusLocked()...)
}

// detachUnusedLocked strikes those from the books that have been idle for
// IdleTimeout, but leaves MinCap. What nobody needed in all that time a pool that
// dials does not keep ready any more.
func (p *Pool) detachUnusedLocked(unused []*entry) (doomed []*entry) {
	for _, e := range unused {
		if p.idle.len <= p.limits.MinCap {
			break
		}
		doomed = append(doomed, e)
		p.removeLocked(e, ClosedIdle)
	}
	if len(doomed) > 0 && p.client != nil {
		p.client.planner.Unused(p.idle.len + p.checking)
	}
	return doomed
}

// detachSurplusLocked strikes what is idle beyond MaxIdle from the books, those
// that have been idle for longest first.
func (p *Pool) detachSurplusLocked() (surplus []*entry) {
	if p.limits.MaxIdle == 0 {
		return nil
	}
	for e := p.idle.oldest; e != nil && p.idle.len > p.limits.MaxIdle; {
		newer := e.prev
		if e.state == stateIdle {
			surplus = append(surplus, e)
			p.removeLocked(e, ClosedFull)
		}
		e = newer
	}
	return surplus
}
