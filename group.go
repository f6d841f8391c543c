package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// GroupConfig configures [NewGroup]. Zero fields mean the stated defaults.
type GroupConfig struct {
	// New makes the configuration of a key's pool, when somebody asks for the
	// key and it has none. Limits.MaxOpen of it bounds the connections of this
	// key. New is called once for all who ask at the same time, who wait for it
	// and get its error; for different keys it is called from several goroutines
	// at once. It must not call the group's Close or Drain.
	New func(key string) (LocalConfig, error)

	// MaxOpen bounds the connections of all keys together: idle, in holders'
	// hands, being dialed or being closed. At the bound, for takers who wait,
	// connections of other keys make way ([ClosedMadeWay]): those that are idle,
	// longest idle first, then those that are put back while nobody waits for
	// their key. Keys get them one each in turn, and none waits for ever for
	// its first one while others are busy. Keeping connections ready ahead of
	// takers uses what is free only. Connections of [Group.Fresh] and beyond a
	// key's own bound (OverflowWhenFull) do not count. What WhenFull says is for a
	// key's own bound: at this one takers wait. Default 0: no bound.
	MaxOpen int

	// MaxKeys bounds the keys that have a pool. The unused one that was in use
	// longest ago makes way for a new one; when all are in use, or as many pools are
	// still being closed, that gets [ErrTooManyKeys]. Default 1,024; negative: no bound.
	MaxKeys int

	// KeepUnused is how long a key keeps its pool, with what is idle there, after
	// the last connection was put back and the last getter left. Default 5
	// minutes; negative: for as long as the group lives.
	KeepUnused time.Duration
}

const (
	defaultMaxKeys    = 1024
	defaultKeepUnused = 5 * time.Minute
)

// Group keeps a single-ended pool, as [NewLocal] makes them, for each key that is
// asked for. A key is any text: the name of a server, say, which survives
// a change of its address. Pools are made on demand and go when they are unused. All
// methods are safe for concurrent use, and none may be called from a hook
// of one of the group's pools.
type Group struct {
	cfg    GroupConfig
	budget *budget        // nil: no bound on all keys together
	wake   chan struct{}  // for the housekeeper
	done   chan struct{}  // closed once the group is
	wg     sync.WaitGroup // every goroutine that Close waits for

	// mu guards what follows, and what says so in room. It may be taken under a
	// pool's lock, and no other lock is taken under it.
	mu      sync.Mutex
	closed  bool
	rooms   map[string]*room
	unused  roomList           // of those, the ones that nobody uses
	leaving map[*room]struct{} // no key's any more, and not all settled
	spent   []*room            // of those, the ones that the housekeeper is to settle
	settled Stats              // of all that are gone
	ending  int                // of those leaving, the ones whose pools are not closed yet
	gone    uint64             // pools that were closed
	picks   uint64             // choices of GetAny
}

// NewGroup makes a group without pools. It ends with [Group.Close] or
// [Group.Drain].
func NewGroup(cfg GroupConfig) (*Group, error) {
	switch {
	case cfg.New == nil:
		return nil, errors.New("pool: GroupConfig.New is nil; it says how to connect for a key")
	case cfg.MaxOpen < 0:
		return nil, fmt.Errorf("pool: GroupConfig.MaxOpen is %d; it must not be negative", cfg.MaxOpen)
	}
	cfg.MaxKeys = cmp.Or(cfg.MaxKeys, defaultMaxKeys)
	cfg.KeepUnused = cmp.Or(cfg.KeepUnused, defaultKeepUnused)
	g := &Group{
		cfg:     cfg,
		wake:    make(chan struct{}, 1),
		done:    make(chan struct{}),
		rooms:   make(map[string]*room),
		leaving: make(map[*room]struct{}),
	}
	if cfg.MaxOpen > 0 {
		g.budget = &budget{max: cfg.MaxOpen}
	}
	g.wg.Go(g.keepHouse) // ends with Close
	return g, nil
}

// Get takes a connection for key, as [Pool.Get] of its pool does, with its errors,
// and makes that pool if there is none. The error of GroupConfig.New is returned,
// and nothing is kept then. The caller ends its use with [Group.Put],
// [Group.Discard] or [Conn.Close].
func (g *Group) Get(ctx context.Context, key string) (*Conn, error) {
	return g.with(ctx, key, func(p *Pool) (*Conn, error) { return p.Get(ctx) })
}

// Fresh makes a connection for key that is never pooled, see [Pool.Fresh]. It
// does not count for GroupConfig.MaxOpen.
func (g *Group) Fresh(ctx context.Context, key string) (*Conn, error) {
	return g.with(ctx, key, func(p *Pool) (*Conn, error) { return p.Fresh(ctx) })
}

// Do is [Pool.Do] with a connection for key.
func (g *Group) Do(ctx context.Context, key string, f func(net.Conn) error) error {
	c, err := g.Get(ctx, key)
	if err != nil {
		return err
	}
	return use(c, f)
}

// with gets a connection from key's pool, which stays meanwhile unless it is
// closed or drained.
func (g *Group) with(ctx context.Context, key string, get func(*Pool) (*Conn, error)) (*Conn, error) {
	r, err := g.enter(ctx, key)
	if err != nil {
		return nil, keyError(key, err)
	}
	defer r.unpin()
	c, err := get(r.pool)
	if err != nil {
		return nil, keyError(key, err)
	}
	return c, nil
}

// longKey is how much of a key an error shows.
const longKey = 100

func keyError(key string, err error) error { return fmt.Errorf("key %.*q: %w", longKey, key, err) }

// Put gives a connection back to its key's pool, see [Pool.Put]. One that is not
// from this group is closed. It works after Close too, and then closes the connection.
func (g *Group) Put(conn net.Conn) {
	if c := g.handle(conn); c != nil {
		c.pool.Put(c.ID(), conn)
	}
}

// Discard ends a connection that broke, see [Pool.Discard].
func (g *Group) Discard(conn net.Conn, err error) {
	if c := g.handle(conn); c != nil {
		c.pool.Discard(c.ID(), conn, err)
	}
}

// handle finds the handle of one of the group's connections; what is none is
// closed.
func (g *Group) handle(conn net.Conn) *Conn {
	if nothing(conn) {
		return nil
	}
	c := handleBelow(conn)
	if c == nil || c.pool.room == nil || c.pool.room.group != g {
		conn.Close()
		return nil
	}
	return c
}

// Keys returns the keys that have a pool now, in alphabetical order.
func (g *Group) Keys() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	keys := make([]string, 0, len(g.rooms))
	for key := range g.rooms {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
