package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Run keeps the pool until ctx ends or Close is called: a server pool accepts,
// a client pool dials, and both look at their idle connections about once a
// second. When ctx ends Run closes the pool. It returns nil after either.
// Otherwise its error is that of [Pool.Err] for a pool that cannot work,
// [ErrClosed] when the pool was closed or drained before, and one that is
// [net.ErrClosed] when somebody else closed the listener: the pool stays open
// then, but nothing watches it. One Run at a time; a pool of [NewLocal] has its
// own, beside which any other is an error.
func (p *Pool) Run(ctx context.Context) error {
	p.mu.Lock()
	err := p.bad
	switch {
	case err != nil:
	case p.phase != phaseOpen:
		err = ErrClosed
	case p.running && p.local != nil:
		err = errors.New("pool: Run is under way already: a pool of NewLocal runs by itself, until Close or Drain")
	case p.running:
		err = errors.New("pool: Run is under way already")
	default:
		p.running = true
		p.wg.Add(1)
	}
	p.mu.Unlock()
	if err != nil {
		return err
	}
	err = p.work(ctx)
	p.mu.Lock()
	p.running = false
	p.mu.Unlock()
	p.wg.Done()
	if ctx.Err() != nil {
		p.Close()
	}
	return err
}

// work is Run's life: the role's part and the sweeper, until either context
// ends.
func (p *Pool) work(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(p.ctx, cancel)
	defer stop()
	var sweeper sync.WaitGroup
	sweeper.Go(func() { p.sweepUntil(ctx.Done()) })
	defer sweeper.Wait()
	switch {
	case p.client != nil:
		p.maintain(ctx)
	case p.server.door != nil:
		err := p.server.door.Serve(ctx, p.server.listener, p.admitFromDoor)
		if err == nil && ctx.Err() == nil && p.Err() == nil {
			err = fmt.Errorf("pool: the listener on %v is gone: %w", p.server.listener.Addr(), net.ErrClosed)
		}
		if err != nil {
			cancel() // ends the sweeper
			return err
		}
		<-ctx.Done() // draining: those still out may need the time until Close
	default:
		<-ctx.Done()
	}
	return nil
}

// Close ends the pool. Waiters and all later calls get [ErrClosed]; the
// listener and the idle connections are closed; connections in holders' hands
// stay theirs, and are closed when put back. Close returns when every
// goroutine of the pool is gone, but for calls of NewClientPool's dialer, which
// heeds no context. It may be called more than once; each call waits. It must
// not be called from the pool's own callbacks, Dial for one.
func (p *Pool) Close() {
	p.mu.Lock()
	p.phase = phaseClosed
	p.failWaitersLocked()
	idle := p.detachIdleLocked(ClosedShutdown)
	p.mu.Unlock()
	p.cancel()
	if p.server != nil && p.server.listener != nil {
		p.server.listener.Close()
	}
	p.part(idle)
	p.wg.Wait()
}

// Drain stops the pool gently: no new connections, none handed out, idle ones
// closed; then it waits for those in holders' hands to be put back or closed.
// It returns nil when none is out, and then the pool is closed; or the error of
// ctx, which says how many still are, with those untouched and the pool waiting
// for its Close.
func (p *Pool) Drain(ctx context.Context) error {
	p.mu.Lock()
	if p.phase == phaseOpen {
		p.phase = phaseDraining
	}
	p.failWaitersLocked()
	idle := p.detachIdleLocked(ClosedShutdown)
	var emptied chan struct{}
	if len(p.byID) > 0 {
		if p.emptied == nil {
			p.emptied = make(chan struct{})
		}
		emptied = p.emptied
	}
	p.mu.Unlock()
	if p.server != nil && p.server.listener != nil {
		p.server.listener.Close()
	}
	p.part(idle)
	if emptied != nil {
		select {
		case <-emptied:
		case <-ctx.Done():
			return fmt.Errorf("connections still in holders' hands: %d: %w", p.Stats().Out, overdue(ctx))
		}
	}
	p.Close()
	return nil
}

// Clean closes the idle connections. Those in holders' hands are untouched,
// and a client pool dials anew.
func (p *Pool) Clean() {
	p.mu.Lock()
	idle := p.detachIdleLocked(ClosedCleaned)
	p.client.wakeLocked()
	p.mu.Unlock()
	p.part(idle)
}

// Flush closes every connection, also those in holders' hands, whose reads and
// writes then fail. It cuts whatever they carry; Clean is what most callers
// want.
func (p *Pool) Flush() {
	p.mu.Lock()
	entries := p.detachIdleLocked(ClosedCleaned)
	for _, e := range p.byID {
		if e.state == stateOut {
			e.holder.retire()
		}
		if e.state == stateOut || e.state == stateChecking {
			p.removeLocked(e, ClosedCleaned)
			entries = append(entries, e)
		}
	}
	p.client.wakeLocked()
	p.mu.Unlock()
	inParallel(entries, (*entry).cut)
}

func (p *Pool) failWaitersLocked() {
	for w := p.waiters.pop(); w != nil; w = p.waiters.pop() {
		p.failLocked(w, ErrClosed)
	}
	for id, q := range p.takers {
		delete(p.takers, id)
		for w := q.pop(); w != nil; w = q.pop() {
			p.failLocked(w, ErrClosed)
		}
	}
	p.failReadyingLocked()
}

// detachIdleLocked strikes all idle connections from the books and returns
// them for closing outside the lock. Those that are being checked follow when
// that is over.
func (p *Pool) detachIdleLocked(why CloseReason) []*entry {
	entries := make([]*entry, 0, p.idle.len)
	for e := p.idle.newest; e != nil; {
		next := e.next
		if e.state == stateChecking {
			e.cleaned = true
		} else {
			entries = append(entries, e)
			p.removeLocked(e, why)
		}
		e = next
	}
	return entries
}

// Err says why the pool gives nothing: the configuration that cannot work,
// naming it, or [ErrClosed] after Close or Drain. Nil while it is open.
func (p *Pool) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refusalLocked()
}

// Ready is true from construction to Close or Drain, unless the configuration
// cannot work.
func (p *Pool) Ready() bool { return p.Err() == nil }

// Active returns how many connections are idle and available, as the seed API
// counts them.
func (p *Pool) Active() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.idle.len
}

// Capacity returns how many idle connections a client pool aims at now, or a
// server pool allows.
func (p *Pool) Capacity() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client != nil {
		return p.client.planner.Capacity()
	}
	return p.limits.MaxCap
}

// Interval returns the time between a client pool's maintenance passes, as it
// is now; 0 on a server pool.
func (p *Pool) Interval() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client == nil {
		return 0
	}
	return p.client.planner.Interval()
}

// AddError counts an error that the caller met. Nothing else moves this
// counter; the pool's own failures are in [Pool.Stats].
func (p *Pool) AddError() { p.errorCount.Add(1) }

// ErrorCount returns what AddError counted since the last ResetError.
func (p *Pool) ErrorCount() int { return int(p.errorCount.Load()) }

// ResetError sets the count of errors to zero.
func (p *Pool) ResetError() { p.errorCount.Store(0) }
