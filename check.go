package pool

import (
	"cmp"
	"context"
	"sync/atomic"
	"time"
)

// maxCheckers is how many idle connections are checked at once. Fewer are in a
// small pool, so that most of it can be had meanwhile.
const maxCheckers = 8

// looks reports whether the sweep is to look for connections to check: not while
// former checks are under way. A nil receiver is a pair's.
func (l *localSide) looks() bool {
	return l != nil && l.cfg.Check != nil && l.cfg.CheckEvery > 0 && l.checkers.Load() == 0
}

// checkIdle has idle connections checked in the background, several at a time, in
// this order.
func (l *localSide) checkIdle(due []sweepItem) {
	if len(due) == 0 {
		return
	}
	p := l.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase != phaseOpen {
		return
	}
	var next atomic.Int64
	for range min(maxCheckers, max(p.idle.len/4, 1), len(due)) {
		l.checkers.Add(1)
		p.wg.Go(func() { // ends soon after Close, which ends checks
			defer l.checkers.Add(-1)
			for i := next.Add(1) - 1; i < int64(len(due)); i = next.Add(1) - 1 {
				l.checkOne(due[i])
			}
		})
	}
}

// checkOne checks a connection that is idle. It keeps its place among the idle
// ones, but nobody gets it.
func (l *localSide) checkOne(it sweepItem) {
	p, e := l.pool, it.entry
	if !p.setAside(it) {
		return
	}
	err := l.check(p.ctx, e)

	p.mu.Lock()
	why := p.endCheckLocked(e, err)
	p.mu.Unlock()
	switch {
	case why == "":
	case err == nil:
		p.part([]*entry{e})
	default:
		e.cut()
	}
}

// setAside keeps an idle connection from takers. It answers false for one that was
// handed out meanwhile, or is gone.
func (p *Pool) setAside(it sweepItem) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := it.entry
	if e.state != stateIdle || e.uses != it.uses || p.phase != phaseOpen {
		return false
	}
	p.idle.setAside(e)
	p.checking++
	return true
}

// endCheckLocked brings a checked connection back to its place, or to who waits
// for it. Otherwise it strikes it from the books and says why; the caller closes
// it then.
func (p *Pool) endCheckLocked(e *entry, err error) (why CloseReason) {
	if e.state != stateChecking {
		return "" // the hook, or Flush, struck it, and closes it
	}
	switch {
	case p.phase != phaseOpen:
		why, err = ClosedShutdown, nil // what ended the check
	case err != nil:
		why = ClosedCheck
	case e.cleaned:
		why = ClosedCleaned
	}
	if why != "" {
		p.removeFaultyLocked(e, why, err)
		return why
	}
	p.checking--
	if p.waiters.len > 0 || p.takers[e.id] != nil {
		p.idle.unlink(e)
		p.offerLocked(e, time.Now())
		return ""
	}
	e.provenAt = time.Now()
	p.idle.bringBack(e)
	p.readyLocked()
	return ""
}

// check is one look at a connection that is nobody else's at the moment. One that
// ctx cuts short tells nothing of the server, but the connection is lost with it.
func (l *localSide) check(ctx context.Context, e *entry) error {
	inTime, cancel := context.WithTimeout(ctx, l.cfg.CheckTimeout)
	defer cancel()
	err := l.runHook(inTime, e, l.cfg.Check)
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	l.pool.count.checks++
	if err != nil && endOf(ctx) == nil {
		l.pool.count.checkFailures++
	}
	return err
}

// proven reports whether a connection was proven alive not too long ago for
// CheckAtGet. A nil receiver is a pair's.
func (l *localSide) proven(c *Conn) bool {
	if l == nil || l.cfg.CheckAtGet == 0 {
		return true
	}
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	return l.cfg.CheckAtGet > 0 && time.Since(c.entry.provenAt) < l.cfg.CheckAtGet
}

// prove has a connection checked for who asked for it then, if that has to be, in
// the time that is left of his patience; he asks now at the latest. The error is
// errUnsound if the connection failed, and is closed, or why it took too long.
func (p *Pool) prove(ctx context.Context, patience time.Duration, asked time.Time, c *Conn) (time.Time, error) {
	if p.local.proven(c) {
		return asked, nil
	}
	if asked.IsZero() {
		asked = time.Now()
	}
	ctx, cancel := p.within(ctx, patience, asked)
	defer cancel()
	stop := context.AfterFunc(p.ctx, cancel)
	defer stop()
	if late := endOf(ctx); late != nil { // no check could succeed any more
		p.giveBack(c)
		return asked, cmp.Or(p.Err(), late)
	}
	err := p.local.check(ctx, c.entry)
	if err == nil {
		return asked, nil
	}
	p.withhold(c, ClosedCheck, err)
	return asked, cmp.Or(p.Err(), endOf(ctx), errUnsound)
}

// giveBack is Put for who did not use c, which proves nothing of it.
func (p *Pool) giveBack(c *Conn) {
	p.mu.Lock()
	c.entry.unused = c.entry.holder == c
	p.mu.Unlock()
	p.Put(c.ID(), c)
}

// endOf is the error of what ctx ends, nil before that. The deadline on a
// connection can pass a moment before ctx tells.
func endOf(ctx context.Context) error {
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return ErrTimeout
	}
	return nil
}
