package pool

import (
	"context"
	"net"
	"sync"
)

// closers is how many connections are closed at once where many are.
const closers = 32

// closeAll closes in parallel and waits. A connection whose Close blocks, as
// that of TLS to a dead peer can, holds up no more than its share.
func closeAll(conns []net.Conn) {
	inParallel(conns, closeBelowTLS)
}

// part closes connections that are struck from the books, in order where the
// pool knows how: all together in the time that one has for it.
func (p *Pool) part(entries []*entry) {
	if len(entries) == 0 {
		return
	}
	ctx, cancel := p.local.farewell()
	defer cancel()
	inParallel(entries, func(e *entry) { p.local.part(ctx, e) })
}

// partAndUnlock does it to one that was struck from the books just now, without
// blocking. It is the end of that critical section, so that a Drain for which this
// was the last waits for the goodbye. After Close nobody does, and none is said.
func (p *Pool) partAndUnlock(e *entry) {
	awaited := p.local != nil && p.phase != phaseClosed
	if awaited {
		p.wg.Go(func() { p.part([]*entry{e}) }) // ends with GoodbyeTimeout
	}
	p.mu.Unlock()
	if !awaited {
		e.cut()
	}
}

// farewell is the time that orderly closes have. A nil receiver is a pair's.
func (l *localSide) farewell() (context.Context, context.CancelFunc) {
	if l == nil {
		return context.Background(), func() {}
	}
	return context.WithTimeout(context.Background(), l.cfg.GoodbyeTimeout)
}

// part closes a connection: one of a pair at once, one to a server that knows
// nothing of pools with a goodbye, and TLS's own, until ctx ends.
func (l *localSide) part(ctx context.Context, e *entry) {
	if l == nil || ctx.Err() != nil {
		e.cut()
		return
	}
	if l.cfg.Goodbye != nil && l.runHook(ctx, e, l.cfg.Goodbye) != nil {
		e.cut() // an end in order is no use any more
		return
	}
	stop := context.AfterFunc(ctx, func() { closeBelowTLS(e.conn) })
	defer stop()
	_ = e.end()
}

// inParallel calls f for each of items, several at a time, and waits.
func inParallel[T any](items []T, f func(T)) {
	if len(items) == 0 {
		return
	}
	queue := make(chan T)
	var wg sync.WaitGroup
	for range min(closers, len(items)) {
		wg.Go(func() {
			for item := range queue {
				f(item)
			}
		})
	}
	for _, item := range items {
		queue <- item
	}
	close(queue)
	wg.Wait()
}
