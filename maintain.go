package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// dialCalm is how long no dial must have failed until the log hears that
// dialing works again. It bounds the lines where some dials succeed and others
// fail, as at a full descriptor table.
const dialCalm = 5 * time.Second

// maintain keeps the pool filled until ctx ends: a pass per interval, and one
// at once whenever something wakes it.
func (p *Pool) maintain(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer p.share.quit()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-p.client.wake:
		}
		now := time.Now()
		p.mu.Lock()
		step := p.planLocked(now)
		again := p.client.calmLocked(now)
		p.mu.Unlock()
		if again {
			Tell(p.log, slog.LevelInfo, "dial_works", nil, "Pool: dialing works again")
		}
		for range step.Dials {
			p.wg.Go(func() { p.dialOne(ctx, now) })
		}
		if step.short > 0 {
			p.share.budget.makeRoom()
		}
		timer.Reset(step.Again)
	}
}

// planLocked asks the planner what to do now.
func (p *Pool) planLocked(now time.Time) Step {
	if p.phase != phaseOpen {
		p.share.quit()
		return Step{Again: p.client.planner.Interval()}
	}
	return p.share.plan(now, p.client.planner, Stock{
		Idle: p.idle.len + p.checking, Out: p.outLocked() - p.singles, Reserved: p.reserved,
		Waiting: p.waiters.len, Wanted: p.wantedLocked(),
	}, &p.waiters)
}

// dialOne makes one connection and brings it into the pool.
func (p *Pool) dialOne(parent context.Context, begun time.Time) {
	ctx, cancel := context.WithTimeout(parent, p.client.timeout)
	defer cancel()
	e, err := p.client.connect(ctx)
	if parent.Err() != nil && err != nil {
		err = nil // the pool is ending: no failure of the server's
	} else if err == nil {
		err = p.adopt(e)
	}
	p.finishDial(begun, e != nil && err == nil, err)
}

// adopt brings a named connection into the pool. It is never too many: the
// server may have handed it out already, and closing it would cost its user.
// While it was dialed, others can have come back to their places; the pool then
// exceeds MaxCap by at most MaxDials, until Reserve and Put refuse some.
func (p *Pool) adopt(e *entry) error {
	var err error
	p.mu.Lock()
	if p.byID[e.id] != nil {
		err = fmt.Errorf("the server gave ID %s twice", e.id)
	} else {
		p.byID[e.id] = e
		e.reserved = true
		p.reserved++
		switch p.offerLocked(e, time.Now()) {
		case refusedClosed:
			err = ErrClosed
		default:
			p.share.counts(e)
			p.client.planner.Arrived(p.idle.len)
		}
		if err != nil {
			if e.reserved {
				e.reserved = false
				p.reserved--
			}
			e.state = stateGone
			delete(p.byID, e.id)
			p.noteEmptyLocked()
		}
	}
	p.mu.Unlock()
	if err != nil {
		closeBelowTLS(e.conn)
	}
	return err
}

// finishDial books the outcome and wakes the maintainer. err nil without
// success means the pool is ending.
func (p *Pool) finishDial(begun time.Time, success bool, err error) {
	if errors.Is(err, ErrClosed) {
		err = nil // our own doing, no failure of the server's
	}
	if !success {
		p.share.dialFailed()
	}
	now := time.Now()
	p.mu.Lock()
	d := p.client
	outcome, first := DialAbandoned, false
	switch {
	case success:
		outcome = DialBrought
		p.dialedLocked(nil)
	case err != nil:
		outcome = DialFailed
		p.dialedLocked(err)
		first, d.told, d.lastFailure = !d.told, true, now
	}
	d.planner.DialEnded(begun, now, outcome)
	d.wakeLocked()
	var watchers []*dialWatcher
	if p.local != nil && outcome == DialFailed {
		watchers = slices.Collect(maps.Keys(p.local.watchers))
	}
	p.mu.Unlock()
	for _, w := range watchers {
		w.failed(err)
	}
	switch {
	case first:
		Tell(p.log, slog.LevelWarn, "dial_failed", Facts{"error", err}, "Pool: dial failed, trying again with growing pauses: %v", err)
	case err != nil:
		Tell(p.log, slog.LevelDebug, "dial_failed", Facts{"error", err}, "Pool: dial failed: %v", err)
	}
}

// dialedLocked books how a dial ended.
func (p *Pool) dialedLocked(err error) {
	p.client.failure = err
	if err == nil {
		p.client.dialed++
		return
	}
	p.client.failed++
	p.failedLocked(nil, err)
}

// calmLocked reports, once, that dialing works again after failures that the
// log was told of.
func (d *dialSide) calmLocked(now time.Time) bool {
	if !d.told || d.planner.Failing() || now.Sub(d.lastFailure) < dialCalm {
		return false
	}
	d.told = false
	return true
}
