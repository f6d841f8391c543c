package tunnel

import (
	"context"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/relay"
)

// crowd bounds the users there are. Those for whom there is no place wait in
// order, one of each public port at the server and the rest in the system's
// queue of the port, so that users cannot take the descriptors that control
// connections and the front door need.
type crowd struct {
	places *semaphore.Weighted
	wait   time.Duration // for a place, from when there was none

	mu    sync.Mutex // guards what follows
	since time.Time  // there has been no place since then; zero: there is
}

func newCrowd(places int, wait time.Duration) *crowd {
	return &crowd{places: semaphore.NewWeighted(int64(places)), wait: wait}
}

// enter takes a place, waiting for one in order. False: there was none for the
// whole wait, or ctx ended.
func (c *crowd) enter(ctx context.Context) bool {
	if c.places.TryAcquire(1) {
		c.placed()
		return true
	}
	ctx, cancel := context.WithDeadline(ctx, c.patience())
	defer cancel()
	if c.places.Acquire(ctx, 1) != nil {
		return false
	}
	c.placed()
	return true
}

// patience is until when a user who finds no place waits. Behind one who
// waited in vain nobody waits again until there is a place: those in the
// system's queue have waited as long.
func (c *crowd) patience() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.IsZero() {
		c.since = time.Now()
	}
	return c.since.Add(c.wait)
}

func (c *crowd) placed() {
	c.mu.Lock()
	c.since = time.Time{}
	c.mu.Unlock()
}

func (c *crowd) leave() { c.places.Release(1) }

// keyShare bounds what the holder of one key can take of what all share, where
// there are several keys: half, so that the thief of one leaves room for others.
type keyShare struct {
	users  *crowd
	pooled *pooledBudget
}

// newShares makes the shares of a server's keys; none if there is one key.
func newShares(cfg ServerConfig) map[pool.KeyID]keyShare {
	if len(cfg.Keys) < 2 {
		return nil
	}
	shares := make(map[pool.KeyID]keyShare)
	for _, k := range cfg.Keys {
		shares[k.ID()] = keyShare{newCrowd(half(cfg.MaxStreams), cfg.Wait), &pooledBudget{limit: half(cfg.MaxPooled)}}
	}
	return shares
}

func half(n int) int { return max(n/2, 1) }

// entrance is a public port's listener. Who is accepted has a place among its
// service's users, those of its client's key and all, which serveUser gives
// back.
type entrance struct {
	net.Listener
	server  *Server
	crowds  []*crowd     // narrowest first
	from    *userSources // who may come
	ctx     context.Context
	closing context.CancelFunc
}

func (s *Server) newEntrance(l net.Listener, from *userSources, key pool.KeyID) *entrance {
	e := &entrance{Listener: l, server: s, from: from, crowds: []*crowd{newCrowd(s.cfg.MaxStreamsPerService, s.cfg.Wait)}}
	e.crowds = append(e.crowds, s.crowdsOf(key)...)
	e.ctx, e.closing = context.WithCancel(s.streams)
	return e
}

// crowdsOf are those that a user of a client with that key is one of.
func (s *Server) crowdsOf(key pool.KeyID) []*crowd {
	if sh, ok := s.shares[key]; ok {
		return []*crowd{sh.users, s.users}
	}
	return []*crowd{s.users}
}

// tryEnter takes a place in each crowd, or in none, without waiting.
func tryEnter(crowds []*crowd) bool {
	for i, c := range crowds {
		if !c.places.TryAcquire(1) {
			leave(crowds[:i])
			return false
		}
	}
	return true
}

// Accept returns the next user who may come and has a place.
func (e *entrance) Accept() (net.Conn, error) {
	for {
		user, err := e.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if !e.from.allow(user.RemoteAddr()) {
			e.server.fromElsewhere(user.RemoteAddr(), e.Addr())
			relay.Reset(user)
			continue
		}
		if e.enter() {
			return user, nil
		}
		if e.ctx.Err() == nil {
			e.turnedAway(user)
		}
		relay.Reset(user)
	}
}

// enter takes a place in each crowd, or in none.
func (e *entrance) enter() bool {
	for i, c := range e.crowds {
		if !c.enter(e.ctx) {
			leave(e.crowds[:i])
			return false
		}
	}
	return true
}

func leave(crowds []*crowd) {
	for _, c := range crowds {
		c.leave()
	}
}

// turnedAway counts a user for whom there was no place, and tells of it now and
// then.
func (e *entrance) turnedAway(user net.Conn) {
	s := e.server
	s.count.overflowed.Add(1)
	if muted, ok := s.crowded.pass(time.Now()); ok {
		s.log.Warn("No place for user %s on %s: %d users are being served, of %d in all and %d per service; see --max-streams and the limit of open files (ulimit -n, LimitNOFILE=)%s",
			user.RemoteAddr(), e.Addr(), s.active.count(), s.cfg.MaxStreams, s.cfg.MaxStreamsPerService, mutedNote(muted))
	}
}

// Close stops accepting.
func (e *entrance) Close() error {
	e.closing()
	return e.Listener.Close()
}

// left gives a user's place back.
func (e *entrance) left() {
	leave(e.crowds)
}

// pooledBudget bounds the pooled connections of all clients together, so that
// many clients with large pools cannot take every descriptor. It counts anew
// now and then, and in between only what came.
type pooledBudget struct {
	limit int

	mu      sync.Mutex
	counted int
	at      time.Time
}

const recountAfter = 100 * time.Millisecond

// take reports whether one more pooled connection has room.
func (b *pooledBudget) take(now time.Time, count func() int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.at) >= recountAfter {
		b.counted, b.at = count(), now
	}
	if b.counted >= b.limit {
		return false
	}
	b.counted++
	return true
}

// roomForPooled reports whether a session may have one more pooled connection, or
// carrier.
func (s *Server) roomForPooled(c *serverSession) bool {
	now := time.Now()
	if !s.pools.take(now, func() int { return s.pooled(func(*serverSession) bool { return true }) }) {
		return false
	}
	sh, ok := s.shares[c.key.ID()]
	return !ok || sh.pooled.take(now, func() int {
		return s.pooled(func(other *serverSession) bool { return other.key.ID() == c.key.ID() })
	})
}

// pooled counts the pooled connections and carriers of some sessions.
func (s *Server) pooled(of func(*serverSession) bool) (n int) {
	for _, c := range s.allSessions() {
		if of(c) {
			st := c.pool.Stats()
			n += st.Idle + st.Out + c.carriers.count() + c.forwards.count()
		}
	}
	return n
}

// sessionsOfLocked counts the sessions that joined with a key.
func (s *Server) sessionsOfLocked(key pool.KeyID) (n int) {
	for _, c := range s.sessions {
		if c.key.ID() == key {
			n++
		}
	}
	return n
}

// portsLocked counts the public ports that are open.
func (s *Server) portsLocked() (n int) {
	for _, p := range s.publishers {
		n += len(p.services)
	}
	return n
}
