package pool

import "time"

// look is a pair's [ServerConfig.Check].
type look struct {
	check  func(*Conn) error
	every  time.Duration
	looked time.Time // last; the sweeper's
}

// newLook returns nil without a check.
func newLook(check func(*Conn) error, every time.Duration, handsOut bool) (*look, error) {
	switch {
	case check == nil && every != 0:
		return nil, wrong("CheckEvery", "it is set, and Check is nil")
	case check == nil:
		return nil, nil
	case !handsOut:
		return nil, wrong("Check", "it is set on the side that takes connections by ID, where one that looks idle may be in use; set it on the other side, which hands them out")
	case every < 0:
		return nil, wrong("CheckEvery", "it is %v; it must not be negative", every)
	case every == 0:
		every = defaultCheckEvery
	}
	return &look{check: check, every: every, looked: time.Now()}, nil
}

// lookAtIdle shows the idle connections to Check, when it is time, and closes
// those that it does not like.
func (p *Pool) lookAtIdle(now time.Time) {
	l := p.look
	if l == nil || now.Sub(l.looked) < l.every {
		return
	}
	l.looked = now
	var items []sweepItem
	p.mu.Lock()
	for e := p.idle.newest; e != nil; e = e.next {
		items = append(items, sweepItem{e, e.uses})
	}
	p.mu.Unlock()
	for _, it := range items {
		p.lookAt(it)
	}
}

// lookAt shows one connection. It stays idle meanwhile: nothing happens on it. A
// verdict counts only for the idle spell it was made in.
func (p *Pool) lookAt(it sweepItem) {
	e := it.entry
	p.mu.Lock()
	idle := e.state == stateIdle && e.uses == it.uses
	p.mu.Unlock()
	if !idle {
		return
	}
	c := &Conn{entry: e, pool: p}
	c.use.Store(connLook)
	err := p.look.check(c)
	c.retire()
	p.mu.Lock()
	p.count.checks++
	failed := err != nil && e.state == stateIdle && e.uses == it.uses
	if err != nil {
		p.count.checkFailures++
	}
	if failed {
		p.removeFaultyLocked(e, ClosedCheck, err)
		p.client.wakeLocked()
	}
	p.mu.Unlock()
	if failed {
		closeBelowTLS(e.conn)
	}
}
