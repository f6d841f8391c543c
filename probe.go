package pool

import (
	"sync"
	"syscall"
	"time"
)

// liveness is what a look at the socket tells without eating a byte.
type liveness uint8

const (
	livenessUnknown  liveness = iota // no socket to look at
	livenessQuiet                    // open, nothing to read
	livenessReadable                 // open, bytes to read
	livenessDead                     // end of file, an error, or a hang-up
)

// probeCall carries one look through RawConn.Control. Pooled, because the
// closure would otherwise be allocated on every hand-out.
type probeCall struct {
	found liveness
	look  func(fd uintptr)
	poll  pollState
}

var probeCalls = sync.Pool{New: func() any {
	c := new(probeCall)
	c.look = func(fd uintptr) { c.found = c.poll.look(fd) }
	return c
}}

// probe looks at a socket. Control, unlike Read, heeds no deadline, so a
// deadline that a former holder left cannot pass for death.
func probe(raw syscall.RawConn) liveness {
	if raw == nil {
		return livenessUnknown
	}
	c := probeCalls.Get().(*probeCall)
	defer probeCalls.Put(c)
	c.found = livenessUnknown
	if raw.Control(c.look) != nil {
		return livenessDead
	}
	return c.found
}

// fit reports whether e may go to a holder. On the server role bytes on an
// idle connection are a breach of the protocol; on the client role they are
// the next user's, who came first.
func (p *Pool) fit(e *entry) bool {
	switch probe(e.raw) {
	case livenessDead:
		return false
	case livenessReadable:
		return !p.serverRole
	}
	return true
}

// sweepInterval is how often idle connections are looked at. A dead one that
// nobody asks for is noticed within twice this.
const sweepInterval = time.Second

type sweepItem struct {
	entry *entry
	uses  uint64
}

// sweep closes idle connections that are too many, looks at every other and
// closes the dead.
func (p *Pool) sweep(now time.Time) {
	p.mu.Lock()
	surplus := p.detachSurplusLocked()
	items := p.sweeping[:0]
	for e := p.idle.newest; e != nil; e = e.next {
		items = append(items, sweepItem{e, e.uses})
	}
	p.sweeping = items
	p.mu.Unlock()
	closeAll(surplus)
	for _, it := range items {
		found := probe(it.entry.raw)
		if found == livenessDead || found == livenessReadable {
			p.sweepOut(it, found, now)
		}
	}
	clear(items) // hold no closed connection until the next sweep
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
	if found == livenessReadable && !p.serverRole {
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
	closeBelowTLS(e.conn)
}

// sweepUntil sweeps about once a second until done is closed.
func (p *Pool) sweepUntil(done <-chan struct{}) {
	t := time.NewTicker(sweepInterval)
	defer t.Stop()
	for {
		select {
		case <-done:
			return
		case now := <-t.C:
			p.sweep(now)
		}
	}
}
