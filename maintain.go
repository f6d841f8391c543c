package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"
)

const (
	// initialDials is how many dials a pool begins with, and returns to when
	// the server is back: enough to fill a small pool in one go, few enough
	// that a server which refuses is not hammered.
	initialDials = 8

	// Backoff after failed dials: exponential with full jitter, as in
	// "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
	backoffBase    = 100 * time.Millisecond
	backoffCeiling = 30 * time.Second

	// dialCalm is how long no dial must have failed until the log hears that
	// dialing works again. It bounds the lines where some dials succeed and
	// others fail, as at a full descriptor table.
	dialCalm = 5 * time.Second
)

// maintain keeps the pool filled until ctx ends: a pass per interval, and one
// at once whenever something wakes it.
func (p *Pool) maintain(ctx context.Context) {
	adjusted := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-p.client.wake:
		}
		now := time.Now()
		p.mu.Lock()
		if interval := p.client.adjusted.interval; now.Sub(adjusted) >= interval {
			p.adjustLocked(now.Sub(adjusted))
			adjusted = now
		}
		begin, pause := p.planLocked(now)
		again := p.client.calmLocked(now)
		next := p.client.adjusted.interval - now.Sub(adjusted)
		p.mu.Unlock()
		if again {
			p.log.Info("Pool: dialing works again")
		}
		for range begin {
			p.wg.Go(func() { p.dialOne(ctx, now) })
		}
		if pause > 0 {
			next = min(next, pause)
		}
		timer.Reset(max(next, time.Millisecond))
	}
}

// adjustLocked steps the controller with what happened since the last step.
func (p *Pool) adjustLocked(elapsed time.Duration) {
	d := p.client
	d.adjusted = d.control.step(d.adjusted, observation{
		idle: p.idle.len, waited: max(d.waited, p.waiters.len), taken: d.taken,
		attempted: d.attempted, succeeded: d.succeeded, elapsed: elapsed,
	})
	d.taken, d.waited, d.attempted, d.succeeded = 0, 0, 0, 0
	d.lastPeak, d.peakIdle = d.peakIdle, p.idle.len
}

// planLocked says how many dials to begin now, and how long to pause when
// backoff or pace hold back some. The dials count as under way on return.
func (p *Pool) planLocked(now time.Time) (begin int, pause time.Duration) {
	d := p.client
	if p.phase != phaseOpen {
		return 0, 0
	}
	// One that is out may be back in a moment, as recycled connections are. So
	// above the low-water mark only what was missing all through the interval
	// is dialed for; below it, whatever is missing now.
	idle := p.idle.len
	if idle >= d.control.lowWater(d.adjusted) {
		idle = max(idle, d.lastPeak)
	}
	want := min(d.adjusted.capacity+max(p.waiters.len, d.demand), p.limits.MaxCap+p.waiters.len)
	want -= idle + p.reserved + d.dialing
	// Takers wait at the other end, so what looks idle here is not there: for
	// them the dials begin now, whatever may be back in a moment.
	want = max(want, min(d.demand, p.limits.MaxCap-p.idle.len-p.reserved)-d.dialing)
	if want <= 0 {
		return 0, 0
	}
	if wait := d.notBefore.Sub(now); wait > 0 {
		return 0, wait
	}
	free := d.parallel - d.dialing
	for begin < min(want, free) && d.pace.AllowN(now, 1) {
		begin++
	}
	if begin == 0 && free > 0 {
		pause = d.cfg.MinInterval / 4 // the pace gives a share of its tokens by then
	}
	d.dialing += begin
	return begin, pause
}

// dialOne makes one connection and brings it into the pool.
func (p *Pool) dialOne(parent context.Context, begun time.Time) {
	ctx, cancel := context.WithTimeout(parent, p.client.cfg.HandshakeTimeout)
	defer cancel()
	conn, err := p.client.cfg.Dial(ctx)
	if err == nil && conn == nil {
		err = errors.New("the dialer returned neither a connection nor an error")
	}
	var e *entry
	if err == nil {
		e, err = p.secureAndName(ctx, conn)
	}
	if parent.Err() != nil && err != nil {
		err = nil // the pool is ending: no failure of the server's
	} else if err == nil {
		err = p.adopt(e)
	}
	p.finishDial(begun, e != nil && err == nil, err)
}

// secureAndName takes a dialed connection through TLS, proof and ID. It owns
// conn until it returns an entry.
func (p *Pool) secureAndName(ctx context.Context, conn net.Conn) (*entry, error) {
	tuneTCP(conn, p.client.cfg.KeepAlive)
	secured, err := p.client.cfg.Security.Secure(ctx, conn)
	if err != nil {
		return nil, err
	}
	e := newEntry(secured)
	secured.SetDeadline(time.Time{})
	// Closing works on every net.Conn, deadlines do not.
	stop := context.AfterFunc(ctx, func() { closeBelowTLS(secured) })
	_, err = io.ReadFull(secured, e.id[:])
	switch {
	case !stop():
		err = fmt.Errorf("read the connection's ID: %w", ctx.Err())
	case err != nil:
		err = readIDError(err)
	case !e.id.valid():
		err = fmt.Errorf("%w: the server sent %q", ErrBadID, e.id[:])
	}
	if err != nil {
		closeBelowTLS(secured)
		return nil, err
	}
	return e, nil
}

func readIDError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the server closed the connection instead of naming it: %w", err)
	}
	return fmt.Errorf("read the connection's ID: %w", err)
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
		e.text = e.id.String()
		p.byID[e.id] = e
		e.reserved = true
		p.reserved++
		switch p.offerLocked(e, time.Now()) {
		case refusedClosed:
			err = ErrClosed
		default:
			p.count.created++
			p.client.demand = max(p.client.demand-1, 0)
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

// finishDial books the outcome, moves backoff and parallelism, and wakes the
// maintainer. err nil without success means the pool is ending.
func (p *Pool) finishDial(begun time.Time, success bool, err error) {
	if errors.Is(err, ErrClosed) {
		err = nil // our own doing, no failure of the server's
	}
	now := time.Now()
	p.mu.Lock()
	d := p.client
	d.dialing--
	first := false
	switch {
	case success:
		d.dialed++
		d.attempted++
		d.succeeded++
		d.failures = 0
		d.notBefore = time.Time{}
		d.parallel = min(max(d.parallel+1, initialDials), d.cfg.MaxDials)
	case err != nil:
		d.failed++
		d.attempted++
		first, d.told, d.lastFailure = !d.told, true, now
		if begun.After(d.failedAt) {
			d.failures++
			d.failedAt = now
			d.notBefore = now.Add(backoff(d.failures))
			d.parallel = 1
		}
	}
	d.wakeLocked()
	p.mu.Unlock()
	switch {
	case first:
		p.log.Warn("Pool: dial failed, trying again with growing pauses: %v", err)
	case err != nil:
		p.log.Debug("Pool: dial failed: %v", err)
	}
}

// calmLocked reports, once, that dialing works again after failures that the
// log was told of.
func (d *dialSide) calmLocked(now time.Time) bool {
	if !d.told || d.failures > 0 || now.Sub(d.lastFailure) < dialCalm {
		return false
	}
	d.told = false
	return true
}

// backoff is a random pause below a ceiling that doubles with each failure. It
// is never 0: a dial after the pause begins after the failure on any clock.
func backoff(failures int) time.Duration {
	ceiling := backoffBase << min(failures-1, 16)
	return max(rand.N(min(ceiling, backoffCeiling)), time.Millisecond)
}
