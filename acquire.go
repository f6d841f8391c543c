package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// withhold closes a connection that was found unfit on its way to a holder. What
// was taken from there meanwhile, by Flush for one, counts as handed out.
func (p *Pool) withhold(c *Conn, why CloseReason, err error) {
	c.retire()
	e := c.entry
	p.mu.Lock()
	if e.holder == c {
		p.count.handedOut--
		if e.awaited {
			p.count.delivered--
		}
		e.untold = false
		p.removeFaultyLocked(e, why, err)
	}
	p.mu.Unlock()
	e.cut()
}

// asLong is a patience that only the context bounds.
const asLong = time.Duration(-1)

// acquire takes the next connection: an idle one, one dialed beyond MaxOpen where
// that is wanted, or one that comes before patience and ctx end. With a patience
// of 0 it does not wait.
func (p *Pool) acquire(ctx context.Context, patience time.Duration) (*Conn, error) {
	c, w, err := p.popOrWait(patience != 0, time.Time{})
	return p.settle(ctx, patience, c, w, err)
}

// settle ends what popOrWait began.
func (p *Pool) settle(ctx context.Context, patience time.Duration, c *Conn, w *waiter, err error) (*Conn, error) {
	asked := w.asked()
	for {
		switch {
		case err == errOverflow:
			ctx, cancel := p.within(ctx, patience, asked)
			defer cancel()
			return p.dialSingle(ctx)
		case err != nil:
			return nil, err
		case c == nil && w == nil:
			return nil, ErrTimeout
		case c == nil:
			if c, err = p.await(ctx, patience, w, &p.waiters); err != nil {
				return nil, err
			}
		}
		switch asked, err = p.prove(ctx, patience, asked, c); {
		case err == nil:
			p.acquired(c, asked)
			return c, nil
		case err != errUnsound:
			return nil, err
		}
		c, w, err = p.popOrWait(patience != 0, asked)
	}
}

// within is ctx for what a getter waits for who asked then, or asks now. It ends
// with patience, too, if that is more than 0, and with AcquireTimeout.
func (p *Pool) within(ctx context.Context, patience time.Duration, asked time.Time) (context.Context, context.CancelFunc) {
	if patience = p.bounded(patience); patience == 0 {
		patience = p.limits.AcquireTimeout // who does not wait is not to check for ever either
	}
	if patience <= 0 {
		return context.WithCancel(ctx)
	}
	if asked.IsZero() {
		asked = time.Now()
	}
	return context.WithDeadline(ctx, asked.Add(patience))
}

// bounded is patience with AcquireTimeout.
func (p *Pool) bounded(patience time.Duration) time.Duration {
	if limit := p.limits.AcquireTimeout; limit > 0 && (patience < 0 || limit < patience) {
		return limit
	}
	return patience
}

var (
	errOverflow = errors.New("pool is full, and may overflow")
	errUnsound  = errors.New("the connection failed its check")
)

// popOrWait takes the idle connection whose turn it is, or queues the caller, in
// one critical section. queue false never queues. Who asked before, and got a
// connection that failed its check, says when: he is queued where he was.
func (p *Pool) popOrWait(queue bool, asked time.Time) (*Conn, *waiter, error) {
	for {
		now := clock()
		p.mu.Lock()
		if err := p.refusalLocked(); err != nil {
			p.mu.Unlock()
			return nil, nil, err
		}
		e := p.nextLocked()
		if e == nil {
			w, err := p.missLocked(queue, asked)
			waiting := p.waiters.len
			p.mu.Unlock()
			if w != nil && p.onWait != nil {
				p.onWait(waiting)
			}
			return nil, w, err
		}
		if p.expireLocked(e, now) {
			p.partAndUnlock(e)
			continue
		}
		p.idle.remove(e)
		c := p.handOutLocked(e, now)
		p.client.tookLocked(p, now)
		p.mu.Unlock()
		if p.fit(e) {
			return p.handOver(c), nil, nil
		}
		p.withhold(c, ClosedDead, nil)
	}
}

// missLocked is for a taker that found none idle: it queues the caller if that is
// wanted, or says why nobody may wait. Who asked before is never one too many.
func (p *Pool) missLocked(queue bool, asked time.Time) (w *waiter, err error) {
	p.count.misses++
	switch {
	case p.limits.WhenFull == FailWhenFull && p.fullLocked():
		err = ErrFull
	case p.limits.WhenFull == OverflowWhenFull && p.fullLocked():
		return nil, errOverflow
	case queue && asked.IsZero() && p.crowdedLocked():
		err = ErrTooManyWaiters
	case queue:
		w = newWaiter()
		if !asked.IsZero() {
			w.turn = asked
		}
		p.waiters.push(w)
		p.waiting++
		p.count.waited++
	}
	p.client.missedLocked(w != nil)
	return w, err
}

// fullLocked reports whether a taker that finds none idle could only be served by
// a holder: what MaxOpen has room for, and what is on its way, is promised to
// those who wait already.
func (p *Pool) fullLocked() bool {
	return p.limits.MaxOpen > 0 && p.idle.len == 0 && p.outLocked()-p.singles+p.waiters.len >= p.limits.MaxOpen
}

// crowdedLocked reports whether nobody more may wait.
func (p *Pool) crowdedLocked() bool {
	return p.limits.MaxWaiters > 0 && p.waiting >= p.limits.MaxWaiters
}

// Get takes the next idle connection, in the Order of [Limits], whose peer is
// alive as far as the socket tells. When there is none it waits, in order of
// arrival, until ctx ends: [ErrTimeout] when its deadline passed, else the cause
// of ctx. A connection that arrives in the same instant wins. A closed or draining
// pool answers [ErrClosed], whatever ctx is. Limits may say that Get waits no
// longer than AcquireTimeout, and gets [ErrFull] or [ErrTooManyWaiters] at once.
//
// The caller ends its use with [Pool.Put], [Pool.Discard] or [Conn.Close]; one that
// is forgotten stays out, and counts for MaxOpen, for ever. Who gets a second one
// before that may wait for himself. Get works on every kind of pool, though of a
// pair's two sides it is for the one that hands out.
func (p *Pool) Get(ctx context.Context) (*Conn, error) {
	if ctx.Err() != nil {
		return nil, cmp.Or(p.Err(), contextError(ctx))
	}
	return p.acquire(ctx, asLong)
}

// Request is a [Pool.Get] in two steps, for whoever has to know when its place in
// the order is taken: those who ask later are served later.
type Request struct {
	pool   *Pool
	conn   *Conn
	waiter *waiter
	err    error
}

// Request takes the next idle connection, or a place among those who wait for
// one. [Request.Wait] must be called, once.
func (p *Pool) Request() Request {
	c, w, err := p.popOrWait(true, time.Time{})
	return Request{p, c, w, err}
}

// Wait returns the connection that was asked for, with the errors of [Pool.Get].
func (r Request) Wait(ctx context.Context) (*Conn, error) {
	if r.conn != nil && ctx.Err() != nil {
		r.pool.giveBack(r.conn)
		return nil, contextError(ctx)
	}
	return r.pool.settle(ctx, asLong, r.conn, r.waiter, r.err)
}

// Take takes the connection with that ID. When it is not idle yet (its ID is
// still on the way here, or its holder has not put it back) Take waits for it
// until ctx ends, with the errors of [Pool.Get] but for [ErrFull]. An ID that was seen and whose
// connection is gone is [ErrNotFound] at once, and one that shows that the two
// ends differ in ShortIDs is [ErrBadID].
func (p *Pool) Take(ctx context.Context, id ID) (*Conn, error) {
	if !id.valid() {
		return nil, cmp.Or(p.Err(), ErrBadID)
	}
	if ctx.Err() != nil {
		return nil, cmp.Or(p.Err(), contextError(ctx))
	}
	return p.take(ctx, id, asLong)
}

// take is acquire for the connection with that ID.
func (p *Pool) take(ctx context.Context, id ID, patience time.Duration) (*Conn, error) {
	c, w, q, err := p.takeOrWait(id, patience != 0)
	asked := w.asked()
	if err == nil && c == nil {
		c, err = p.await(ctx, patience, w, q)
	}
	if err != nil {
		return nil, err
	}
	switch asked, err = p.prove(ctx, patience, asked, c); {
	case err == errUnsound:
		return nil, ErrNotFound
	case err != nil:
		return nil, err
	}
	p.acquired(c, asked)
	return c, nil
}

func (p *Pool) takeOrWait(id ID, queue bool) (*Conn, *waiter, *waiterQueue, error) {
	now := clock()
	p.mu.Lock()
	if err := cmp.Or(p.refusalLocked(), p.misnamed(id)); err != nil {
		p.mu.Unlock()
		return nil, nil, nil, err
	}
	e := p.byID[id]
	if e == nil || e.state != stateIdle {
		defer p.mu.Unlock()
		p.count.misses++
		if e == nil && p.gone.has(id) {
			return nil, nil, nil, ErrNotFound
		}
		if !queue {
			return nil, nil, nil, ErrTimeout
		}
		if p.crowdedLocked() {
			return nil, nil, nil, ErrTooManyWaiters
		}
		q := p.takers[id]
		if q == nil {
			q = new(waiterQueue)
			p.takers[id] = q
		}
		w := newWaiter()
		w.id = id
		q.push(w)
		p.waiting++
		p.count.waited++
		return nil, w, q, nil
	}
	if p.expireLocked(e, now) {
		p.partAndUnlock(e)
		return nil, nil, nil, ErrNotFound
	}
	p.idle.remove(e)
	c := p.handOutLocked(e, now)
	p.client.tookLocked(p, now)
	p.mu.Unlock()
	if !p.fit(e) {
		p.withhold(c, ClosedDead, nil)
		return nil, nil, nil, ErrNotFound
	}
	return p.handOver(c), nil, nil, nil
}

// await waits for w to be served, until patience, ctx or AcquireTimeout ends.
func (p *Pool) await(ctx context.Context, patience time.Duration, w *waiter, q *waiterQueue) (*Conn, error) {
	var late <-chan time.Time
	if patience = p.bounded(patience); patience > 0 {
		t := time.NewTimer(time.Until(w.turn.Add(patience)))
		defer t.Stop()
		late = t.C
	}
	var err error
	select {
	case <-w.ready:
	case <-ctx.Done():
		err = contextError(ctx)
	case <-late:
		err = ErrTimeout
	}
	if err != nil {
		if err = p.giveUp(w, q, err); err != nil {
			return nil, err
		}
	}
	if w.conn == nil {
		return nil, w.err
	}
	return p.handOver(w.conn), nil
}

// giveUp takes w out of its queue, and returns why it waited in vain: err, and what
// keeps a single-ended pool's dials from succeeding. It is nil if w was served
// meanwhile: the look is under the lock, so that nothing is stranded.
func (p *Pool) giveUp(w *waiter, q *waiterQueue, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.served() {
		return nil
	}
	q.remove(w)
	if q.len == 0 && p.takers[w.id] == q {
		delete(p.takers, w.id)
	}
	p.waiting--
	p.share.trim(&p.waiters)
	p.count.timeouts++
	p.count.waits.Observe(time.Since(w.since))
	if p.local != nil && p.client.failure != nil && err == ErrTimeout {
		err = fmt.Errorf("%w; the last dial failed: %w", err, p.client.failure)
	}
	return err
}
