package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Pick says which of several keys [Group.GetAny] asks first.
type Pick uint8

const (
	// RoundRobin takes the keys in turn: the one that was chosen longest ago.
	RoundRobin Pick = iota

	// LeastBusy takes the key with the fewest connections in holders' hands and
	// getters; among equals, in turn.
	LeastBusy
)

// GetAny takes a connection for one of keys, which serve equally well, and says
// which. Keys come in the order of pick, those last whose pool has no connection
// and could not make one when it tried last. When the one that was chosen cannot
// serve either, because a dial fails while the caller waits or for any other
// reason but the end of ctx, the next is asked. The error is that of ctx, or says what
// was wrong with each key. Each key is waited for as in [Group.Get]: a dial that
// hangs is given up after LocalConfig.ConnectTimeout.
func (g *Group) GetAny(ctx context.Context, pick Pick, keys ...string) (string, *Conn, error) {
	if len(keys) == 0 {
		return "", nil, errors.New("GetAny: there is no key to choose from")
	}
	if pick > LeastBusy {
		return "", nil, fmt.Errorf("GetAny: Pick is %d; it must be RoundRobin or LeastBusy", pick)
	}
	left := slices.Compact(slices.Sorted(slices.Values(keys)))
	failed := &anyError{}
	for len(left) > 0 && (ctx.Err() == nil || len(failed.each) == 0) {
		choice := g.choose(pick, left)
		c, err := choice.get(ctx)
		if err == nil {
			return choice.key, c, nil
		}
		failed.each = append(failed.each, keyError(choice.key, err))
		left = slices.DeleteFunc(left, func(key string) bool { return key == choice.key })
	}
	if len(failed.each) == 1 {
		return "", nil, failed.each[0]
	}
	return "", nil, failed
}

// choice is the key that GetAny asks next.
type choice struct {
	key  string
	room *room // pinned, unless err says why there is none
	mine bool  // the room is to be built
	err  error
}

// choose picks one of keys.
func (g *Group) choose(pick Pick, keys []string) choice {
	failing := g.failing(keys)
	g.mu.Lock()
	defer g.mu.Unlock()
	rank := func(key string) (failed, busy int64, picked uint64) {
		if failing[key] {
			failed = 1
		}
		r := g.rooms[key]
		if r == nil {
			return failed, 0, 0
		}
		if pick == LeastBusy {
			busy = r.busy.Load()
		}
		return failed, busy, r.picked
	}
	first := slices.MinFunc(keys, func(a, b string) int {
		failedA, busyA, pickedA := rank(a)
		failedB, busyB, pickedB := rank(b)
		return cmp.Or(cmp.Compare(failedA, failedB), cmp.Compare(busyA, busyB), cmp.Compare(pickedA, pickedB))
	})
	r, mine, err := g.claimLocked(first)
	if err == nil {
		g.picks++
		r.picked = g.picks
	}
	return choice{first, r, mine, err}
}

// failing tells which of keys have a pool that cannot serve.
func (g *Group) failing(keys []string) map[string]bool {
	g.mu.Lock()
	rooms := make([]*room, 0, len(keys))
	for _, key := range keys {
		if r := g.rooms[key]; r != nil {
			rooms = append(rooms, r)
		}
	}
	g.mu.Unlock()
	failing := make(map[string]bool)
	for _, r := range rooms { // each under its pool's lock
		if p := r.made(); p != nil && p.Healthy() != nil {
			failing[r.key] = true
		}
	}
	return failing
}

// get takes a connection, and gives up when a dial fails meanwhile.
func (c choice) get(ctx context.Context) (*Conn, error) {
	if c.err != nil {
		return nil, c.err
	}
	if err := c.room.arrive(ctx, c.mine); err != nil {
		return nil, err
	}
	defer c.room.unpin()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := c.room.pool
	defer p.local.onDialFailure(cancel)()
	return p.Get(ctx)
}

// onDialFailure has f called, once or more often, with the error of each dial that
// fails until stop is called. f must not block.
func (l *localSide) onDialFailure(f func(error)) (stop func()) {
	p := l.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.watchers == nil {
		l.watchers = make(map[*dialWatcher]struct{})
	}
	w := &dialWatcher{f}
	l.watchers[w] = struct{}{}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(l.watchers, w)
	}
}

// dialWatcher is somebody who wants to know when a dial fails.
type dialWatcher struct{ failed func(error) }

// anyError says what was wrong with each of several keys.
type anyError struct{ each []error }

func (e *anyError) Unwrap() []error { return e.each }

func (e *anyError) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "none of %d keys can serve", len(e.each))
	for i, err := range e.each {
		if i == namedKeys {
			fmt.Fprintf(&text, "; and %d more", len(e.each)-namedKeys)
			break
		}
		fmt.Fprintf(&text, "; %v", err)
	}
	return text.String()
}
