package pool

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Close ends the pools of keys, each as [Pool.Close] does: getters that wait get
// [ErrClosed], connections in holders' hands stay theirs, and are closed when put
// back. It returns when every goroutine of those pools is gone. Whoever asks for
// such a key from then on, or meanwhile, gets a new pool, made with another
// call of GroupConfig.New: that is how a changed address or password comes in.
//
// Without keys it ends the group, for good: all later calls get [ErrClosed]. It
// may be called more than once; each call waits.
func (g *Group) Close(keys ...string) {
	g.mu.Lock()
	if len(keys) == 0 {
		g.shutLocked()
	}
	rooms := g.chosenLocked(keys)
	g.mu.Unlock()
	g.end(rooms)
	if len(keys) == 0 {
		g.wg.Wait()
	}
}

// Drain ends the pools of keys gently, each as [Pool.Drain] does: nobody new gets
// a connection, so that who asks for such a key meanwhile gets [ErrClosed]; idle
// ones are closed, and those in holders' hands are waited for until ctx ends.
// Then the pools are closed, as by [Group.Close], and from then on a key may get a
// new one. The error is nil when nothing was left in holders' hands; otherwise it is
// that of ctx, and says how many connections of which keys.
//
// Without keys it ends the whole group that way, for good.
func (g *Group) Drain(ctx context.Context, keys ...string) error {
	g.mu.Lock()
	if len(keys) == 0 {
		g.shutLocked()
	}
	rooms := g.chosenLocked(keys)
	for _, r := range rooms {
		r.draining = true
		g.unused.remove(r)
	}
	g.mu.Unlock()
	left := make([]int, len(rooms)) // connections still out
	var all sync.WaitGroup
	for i, r := range rooms {
		all.Go(func() { left[i] = r.drain(ctx) }) // ends with ctx, or when the pool is drained
	}
	all.Wait()
	g.end(rooms)
	if len(keys) == 0 {
		g.wg.Wait()
	}
	return drainError(ctx, rooms, left)
}

// shutLocked lets nobody new in, and ends the housekeeper.
func (g *Group) shutLocked() {
	if !g.closed {
		g.closed = true
		close(g.done)
	}
}

// chosenLocked returns the rooms of keys, or of all where there are none, with
// those that were taken away and may have connections out.
func (g *Group) chosenLocked(keys []string) (rooms []*room) {
	wanted := make(map[string]bool, len(keys))
	for _, key := range keys {
		wanted[key] = true
	}
	for key, r := range g.rooms {
		if len(keys) == 0 || wanted[key] {
			rooms = append(rooms, r)
		}
	}
	for r := range g.leaving {
		if len(keys) == 0 || wanted[r.key] {
			rooms = append(rooms, r)
		}
	}
	return rooms
}

// drain waits for what is out, and returns how many still are when ctx ends.
func (r *room) drain(ctx context.Context) int {
	select {
	case <-r.ready:
	case <-ctx.Done():
		return 0
	}
	if r.pool == nil || r.pool.Drain(ctx) == nil {
		return 0
	}
	return r.pool.Stats().Out
}

// end takes rooms away from their keys and waits for the end of their pools.
func (g *Group) end(rooms []*room) {
	g.mu.Lock()
	for _, r := range rooms {
		if g.detachLocked(r) {
			go r.end() // detachLocked has it awaited; it ends with the pool
		}
	}
	g.mu.Unlock()
	for _, r := range rooms {
		<-r.ended
	}
}

// namedKeys is how many keys an error names.
const namedKeys = 5

// drainError says how many connections of which rooms are left, those with most
// first; nil if none is.
func drainError(ctx context.Context, rooms []*room, left []int) error {
	type rest struct {
		key string
		n   int
	}
	var late []rest
	total := 0
	for i, n := range left {
		if n > 0 {
			late = append(late, rest{rooms[i].key, n})
			total += n
		}
	}
	if total == 0 {
		return nil
	}
	slices.SortFunc(late, func(a, b rest) int {
		if a.n != b.n {
			return b.n - a.n
		}
		return strings.Compare(a.key, b.key)
	})
	var names []string
	for _, l := range late[:min(len(late), namedKeys)] {
		names = append(names, fmt.Sprintf("%d of key %.*q", l.n, longKey, l.key))
	}
	if more := len(late) - namedKeys; more > 0 {
		names = append(names, fmt.Sprintf("others of %d more keys", more))
	}
	return fmt.Errorf("connections still in holders' hands: %d (%s): %w", total, strings.Join(names, ", "), overdue(ctx))
}
