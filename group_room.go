package pool

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// room is a key's place in a group, and its pool once that is made. Whoever finds
// a room waits for ready; whoever makes it calls build. A nil room is that of a
// pool on its own.
type room struct {
	group *Group        // never changes
	key   string        // never changes
	ready chan struct{} // closed when pool or err is there, which never change then
	ended chan struct{} // closed when nothing of the pool runs any more
	pool  *Pool
	err   error

	// busy counts those who are about to get something here, and the connections
	// in holders' hands. Only who holds the group's lock raises it from 0.
	busy atomic.Int64

	// The group's lock guards these.
	away       bool      // it is not in the group's map any more
	draining   bool      // nobody new gets anything
	over       bool      // its pool is closed
	since      time.Time // when it became unused
	picked     uint64    // which choice of GetAny chose it last
	listed     bool      // among the unused
	prev, next *room     // there
}

// pin and unpin say that the room is used. pin is for who holds a pin already, or
// the group's lock.
func (r *room) pin() {
	if r != nil {
		r.busy.Add(1)
	}
}

func (r *room) unpin() {
	if r == nil || r.busy.Add(-1) > 0 {
		return
	}
	g := r.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.busy.Load() > 0 {
		return
	}
	switch {
	case r.away && r.over:
		if _, ok := g.leaving[r]; ok {
			g.spent = append(g.spent, r)
			g.wakeLocked()
		}
	case !r.away && !r.draining && !r.listed:
		r.since = time.Now()
		g.unused.push(r)
	}
}

// enter returns key's room, pinned, with a pool in it.
func (g *Group) enter(ctx context.Context, key string) (*room, error) {
	g.mu.Lock()
	r, mine, err := g.claimLocked(key)
	g.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return r, r.arrive(ctx, mine)
}

// arrive waits until a room that is pinned has a pool; mine says that it is the
// caller's to build. On an error the pin is given up.
func (r *room) arrive(ctx context.Context, mine bool) (err error) {
	if mine {
		r.build()
	}
	select {
	case <-r.ready:
		err = r.err
	case <-ctx.Done():
		err = contextError(ctx)
	}
	if err != nil {
		r.unpin()
	}
	return err
}

// claimLocked returns key's room, pinned; mine says that it is new, and the
// caller's to build.
func (g *Group) claimLocked(key string) (r *room, mine bool, err error) {
	if g.closed {
		return nil, false, ErrClosed
	}
	if r := g.rooms[key]; r != nil {
		if r.draining {
			return nil, false, fmt.Errorf("%w: it is being drained", ErrClosed)
		}
		r.pin()
		g.unused.remove(r)
		return r, false, nil
	}
	if g.cfg.MaxKeys > 0 && len(g.rooms) >= g.cfg.MaxKeys {
		last := g.unused.oldest
		if last == nil || g.ending >= g.cfg.MaxKeys {
			return nil, false, fmt.Errorf("%w: MaxKeys is %d", ErrTooManyKeys, g.cfg.MaxKeys)
		}
		g.detachLocked(last)
		go last.end() // detachLocked has it awaited; it ends with the pool
	}
	r = &room{group: g, key: key, ready: make(chan struct{}), ended: make(chan struct{})}
	r.pin()
	g.rooms[key] = r
	return r, true, nil
}

var errNewPanicked = errors.New("GroupConfig.New panicked")

// build makes the room's pool, or says why there is none, to everybody who waits
// for it. The caller's pin stays.
func (r *room) build() {
	g := r.group
	var p *Pool
	err := errNewPanicked
	defer func() {
		g.mu.Lock()
		switch {
		case err == nil && (r.away || r.draining):
			err = ErrClosed // meanwhile; whoever did it ends the pool
		case err != nil && !r.away:
			r.away = true
			delete(g.rooms, r.key)
			close(r.ended) // nobody else does
		}
		g.mu.Unlock()
		r.pool, r.err = p, err
		close(r.ready)
	}()
	cfg, failure := g.cfg.New(r.key)
	if failure == nil {
		p, failure = makeLocal(cfg, r, g.budget)
	}
	err = failure
}

// detachLocked takes a room away from its key. Whoever does it calls end, which
// Close waits for. It answers false if somebody else did.
func (g *Group) detachLocked(r *room) bool {
	if r.away {
		return false
	}
	r.away = true
	delete(g.rooms, r.key)
	g.unused.remove(r)
	g.leaving[r] = struct{}{}
	g.ending++
	g.wg.Add(1)
	return true
}

// end closes the pool of a room that was taken away, and settles it unless
// connections are still in holders' hands.
func (r *room) end() {
	g := r.group
	defer g.wg.Done()
	<-r.ready
	if r.pool != nil {
		r.pool.Close()
	}
	g.mu.Lock()
	r.over = true
	g.ending--
	if r.pool != nil {
		g.gone++
	}
	g.mu.Unlock()
	close(r.ended)
	if r.busy.Load() == 0 {
		g.settle(r)
	}
}

// settle adds what a room's pool has done to the sum of those that are gone. The
// pool is closed and nothing of it is out, so that its counters do not move any
// more.
func (g *Group) settle(r *room) {
	var last Stats
	if r.pool != nil {
		last = r.pool.Stats()
		last.Capacity, last.Interval = 0, 0 // it aims at nothing any more
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.leaving[r]; ok {
		delete(g.leaving, r)
		g.settled = g.settled.Add(last)
	}
}

// keepHouse ends pools that were unused for too long, and settles those whose last
// connection has come back, until the group is closed.
func (g *Group) keepHouse() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-g.done:
			return
		case <-timer.C:
		case <-g.wake:
		}
		expired, spent, again := g.due(time.Now())
		for _, r := range expired {
			go r.end() // detachLocked has it awaited; it ends with the pool
		}
		for _, r := range spent {
			g.settle(r)
		}
		if g.cfg.KeepUnused > 0 {
			timer.Reset(again)
		}
	}
}

// due takes the rooms away that were unused for too long, and says when to look
// again: no room can be due earlier.
func (g *Group) due(now time.Time) (expired, spent []*room, again time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	spent, g.spent = g.spent, nil
	if g.cfg.KeepUnused < 0 {
		return nil, spent, 0
	}
	for r := g.unused.oldest; r != nil; r = g.unused.oldest {
		if left := r.since.Add(g.cfg.KeepUnused).Sub(now); left > 0 {
			return expired, spent, left
		}
		g.detachLocked(r)
		expired = append(expired, r)
	}
	return expired, spent, g.cfg.KeepUnused
}

// wakeLocked asks the housekeeper for a pass.
func (g *Group) wakeLocked() {
	select {
	case g.wake <- struct{}{}:
	default: // one is on its way already
	}
}

// roomList holds the rooms that nobody uses, those unused for longest first.
type roomList struct{ oldest, newest *room }

func (l *roomList) push(r *room) {
	r.listed = true
	r.prev = l.newest
	if l.newest == nil {
		l.oldest = r
	} else {
		l.newest.next = r
	}
	l.newest = r
}

// remove takes r out, if it is in.
func (l *roomList) remove(r *room) {
	if !r.listed {
		return
	}
	r.listed = false
	if r.prev == nil {
		l.oldest = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next == nil {
		l.newest = r.prev
	} else {
		r.next.prev = r.prev
	}
	r.prev, r.next = nil, nil
}
