package pool

import (
	"cmp"
	"context"
	"time"
)

// discardDead closes a connection that was found dead on its way to a holder.
func (p *Pool) discardDead(c *Conn) {
	c.retire()
	p.mu.Lock()
	p.count.handedOut--
	p.removeLocked(c.entry, ClosedDead)
	p.mu.Unlock()
	closeBelowTLS(c.entry.conn)
}

// popOrWait takes the most recently proven idle connection, or queues the
// caller, in one critical section. queue false never queues.
func (p *Pool) popOrWait(queue bool) (*Conn, *waiter, error) {
	for {
		p.mu.Lock()
		if err := p.refusalLocked(); err != nil {
			p.mu.Unlock()
			return nil, nil, err
		}
		e := p.idle.popNewest()
		if e == nil {
			var w *waiter
			if queue {
				w = newWaiter()
				p.waiters.push(w)
				p.count.waited++
			}
			p.client.missedLocked(queue)
			waiting := p.waiters.len
			p.mu.Unlock()
			if queue && p.onWait != nil {
				p.onWait(waiting)
			}
			return nil, w, nil
		}
		c := p.handOutLocked(e)
		p.client.tookLocked(p)
		p.mu.Unlock()
		if p.fit(e) {
			return p.handOver(c), nil, nil
		}
		p.discardDead(c)
	}
}

// Get takes the next idle connection, the most recently proven first, whose
// peer is alive as far as the socket tells. When there is none it waits, in
// order of arrival, until ctx ends: [ErrTimeout] when its deadline passed,
// else the cause of ctx. A connection that arrives in the same instant wins.
// A closed or draining pool answers [ErrClosed], whatever ctx is.
//
// The caller ends its use with [Pool.Put] or [Conn.Close]. Get works on both
// roles.
func (p *Pool) Get(ctx context.Context) (*Conn, error) {
	if ctx.Err() != nil {
		return nil, cmp.Or(p.Err(), contextError(ctx))
	}
	c, w, err := p.popOrWait(true)
	if err != nil || c != nil {
		return c, err
	}
	return p.await(ctx, w, &p.waiters)
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
	c, w, err := p.popOrWait(true)
	return Request{p, c, w, err}
}

// Wait returns the connection that was asked for, with the errors of [Pool.Get].
func (r Request) Wait(ctx context.Context) (*Conn, error) {
	switch {
	case r.err != nil:
		return nil, r.err
	case r.conn == nil:
		return r.pool.await(ctx, r.waiter, &r.pool.waiters)
	case ctx.Err() != nil:
		r.pool.Put(r.conn.ID(), r.conn)
		return nil, contextError(ctx)
	}
	return r.conn, nil
}

// Take takes the connection with that ID. When it is not idle yet (its ID is
// still on the way here, or its holder has not put it back) Take waits for it
// until ctx ends, with the errors of [Pool.Get]. An ID that was seen and whose
// connection is gone is [ErrNotFound] at once.
func (p *Pool) Take(ctx context.Context, id ID) (*Conn, error) {
	if !id.valid() {
		return nil, cmp.Or(p.Err(), ErrBadID)
	}
	if ctx.Err() != nil {
		return nil, cmp.Or(p.Err(), contextError(ctx))
	}
	c, w, q, err := p.takeOrWait(id, true)
	if err != nil || c != nil {
		return c, err
	}
	return p.await(ctx, w, q)
}

func (p *Pool) takeOrWait(id ID, queue bool) (*Conn, *waiter, *waiterQueue, error) {
	p.mu.Lock()
	if err := p.refusalLocked(); err != nil {
		p.mu.Unlock()
		return nil, nil, nil, err
	}
	e := p.byID[id]
	if e == nil || e.state != stateIdle {
		defer p.mu.Unlock()
		if e == nil && p.gone.has(id) {
			return nil, nil, nil, ErrNotFound
		}
		if !queue {
			return nil, nil, nil, ErrTimeout
		}
		q := p.takers[id]
		if q == nil {
			q = new(waiterQueue)
			p.takers[id] = q
		}
		w := newWaiter()
		w.id = id
		q.push(w)
		p.count.waited++
		return nil, w, q, nil
	}
	p.idle.remove(e)
	c := p.handOutLocked(e)
	p.client.tookLocked(p)
	p.mu.Unlock()
	if !p.fit(e) {
		p.discardDead(c)
		return nil, nil, nil, ErrNotFound
	}
	return p.handOver(c), nil, nil, nil
}

// await waits for w to be served. Whoever gives up re-checks under the lock
// whether it was served meanwhile, so that nothing is stranded.
func (p *Pool) await(ctx context.Context, w *waiter, q *waiterQueue) (*Conn, error) {
	select {
	case <-w.ready:
	case <-ctx.Done():
		p.mu.Lock()
		if !w.served() {
			q.remove(w)
			if q.len == 0 && p.takers[w.id] == q {
				delete(p.takers, w.id)
			}
			p.count.timeouts++
			p.count.waits.Observe(time.Since(w.since))
			p.mu.Unlock()
			return nil, contextError(ctx)
		}
		p.mu.Unlock()
	}
	if w.conn == nil {
		return nil, w.err
	}
	return p.handOver(w.conn), nil
}
