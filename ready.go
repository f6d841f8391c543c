package pool

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// readiness is one blocked WaitReady. err is written under the pool's lock before
// done is closed, and read after it.
type readiness struct {
	n    int
	done chan struct{}
	err  error
}

// WaitReady waits until n connections are idle at once, and returns nil then; they
// may be taken the moment after. A pool that dials aims at n meanwhile, whatever its
// capacity is. Any number of callers may wait, each for its own n.
//
// More than the pool's [Limits] let be idle is refused at once. When ctx ends
// first, the error is [ErrTimeout] or the cause of ctx, and says how many were idle
// and, on a pool whose last dial failed, why. A pool that closes or drains answers
// [ErrClosed].
func (p *Pool) WaitReady(ctx context.Context, n int) error {
	if most := p.limits.idleBound(); n > most && p.bad == nil {
		return fmt.Errorf("pool: WaitReady for %d connections: MaxCap, MaxIdle and MaxOpen let at most %d be idle", n, most)
	}
	p.mu.Lock()
	err := p.refusalLocked()
	if err != nil || p.idle.len >= n {
		p.mu.Unlock()
		return err
	}
	r := &readiness{n: n, done: make(chan struct{})}
	at, _ := slices.BinarySearchFunc(p.readying, n, func(r *readiness, n int) int { return cmp.Compare(r.n, n) })
	p.readying = slices.Insert(p.readying, at, r)
	p.client.wakeLocked()
	p.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return p.notReady(ctx, r)
	}
}

// notReady is WaitReady's end with ctx's. What came in the same instant wins.
func (p *Pool) notReady(ctx context.Context, r *readiness) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := slices.Index(p.readying, r)
	if at < 0 {
		return r.err
	}
	p.readying = slices.Delete(p.readying, at, at+1)
	err := fmt.Errorf("%d of %d connections are ready: %w", p.idle.len, r.n, overdue(ctx))
	if p.client != nil && p.client.failure != nil {
		err = fmt.Errorf("%w; the last dial failed: %w", err, p.client.failure)
	}
	return err
}

// readyLocked serves those who wait for no more than what is idle now.
func (p *Pool) readyLocked() {
	for len(p.readying) > 0 && p.readying[0].n <= p.idle.len {
		close(p.readying[0].done)
		p.readying = slices.Delete(p.readying, 0, 1)
	}
}

// failReadyingLocked ends them all with the pool.
func (p *Pool) failReadyingLocked() {
	for _, r := range p.readying {
		r.err = ErrClosed
		close(r.done)
	}
	p.readying = nil
}

// wantedLocked is how many connections somebody waits to see idle.
func (p *Pool) wantedLocked() int {
	if len(p.readying) == 0 {
		return 0
	}
	return p.readying[len(p.readying)-1].n
}
