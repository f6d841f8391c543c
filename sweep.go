package pool

import "time"

// sweepInterval is how often idle connections are looked at. A dead one that
// nobody asks for is noticed within twice this.
const sweepInterval = time.Second

// sweeper looks after a pool's idle connections. Where the system tells which
// sockets have something to say, it looks at those only.
type sweeper struct {
	pool  *Pool
	watch *watch      // nil: every connection is looked at, every time
	items []sweepItem // scratch
	due   []sweepItem // to be checked, those first that have been idle for longest
}

type sweepItem struct {
	entry *entry
	uses  uint64
}

// sweepUntil sweeps about once a second until done is closed.
func (p *Pool) sweepUntil(done <-chan struct{}) {
	s := sweeper{pool: p, watch: newWatch()}
	defer s.watch.close()
	t := time.NewTicker(sweepInterval)
	defer t.Stop()
	for {
		select {
		case <-done:
			return
		case now := <-t.C:
			s.sweep(now)
			p.local.checkIdle(s.due)
			p.lookAtIdle(now)
		}
	}
}

// sweep closes idle connections that are too many, too old or unused for too long,
// and the dead among the others. Each connection is watched from the first sweep
// after it became idle, and looked at when that brings something.
func (s *sweeper) sweep(now time.Time) {
	s.pool.part(s.collect(now))
	left := s.items[:0]
	for _, it := range s.items {
		if !s.watch.add(it.entry.raw, it.entry.id) {
			left = append(left, it)
		}
	}
	for _, it := range s.nominated(left) {
		found := probe(it.entry.raw)
		if found == livenessReadable && it.entry.mayTellTLS() {
			s.pool.hearTLS(it)
			continue
		}
		if found == livenessDead || found == livenessReadable {
			s.pool.sweepOut(it, found, now)
		}
	}
	clear(s.items[:cap(s.items)]) // hold no closed connection until the next sweep
}

// nominated adds to items those that have something to say. Connections that
// are out may have that too: it is their holders' matter. All are to be watched
// anew if the look at them leaves them idle.
func (s *sweeper) nominated(items []sweepItem) []sweepItem {
	p := s.pool
	s.watch.fired(func(id ID) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if e := p.byID[id]; e != nil && e.state == stateIdle {
			items = append(items, sweepItem{e, e.uses})
		}
	})
	p.mu.Lock()
	for _, it := range items {
		it.entry.unwatched = true
	}
	p.mu.Unlock()
	return items
}

// sweepOut closes one that looked dead, unless it was handed out meanwhile: a
// verdict counts only for the idle spell it was made in.
func (p *Pool) sweepOut(it sweepItem, found liveness, now time.Time) {
	e := it.entry
	p.mu.Lock()
	if e.state != stateIdle || e.uses != it.uses {
		p.mu.Unlock()
		return
	}
	why := ClosedDead
	if found == livenessReadable && e.readElsewhere() {
		p.mu.Unlock()
		return
	}
	if found == livenessReadable && !p.handsOut {
		if e.readableSince.IsZero() {
			e.readableSince = now
		}
		if now.Sub(e.readableSince) < p.pairTimeout {
			p.mu.Unlock()
			return
		}
		why = ClosedUnpaired
	}
	p.removeLocked(e, why)
	p.client.wakeLocked()
	p.mu.Unlock()
	e.cut()
}
