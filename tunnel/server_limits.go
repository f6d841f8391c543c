package tunnel

import (
	"context"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

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

// entrance is a public port's listener. Who is accepted has a place among its
// service's users and among all, which serveUser gives back.
type entrance struct {
	net.Listener
	server  *Server
	users   *crowd // of this port
	ctx     context.Context
	closing context.CancelFunc
}

func (s *Server) newEntrance(l net.Listener) *entrance {
	e := &entrance{Listener: l, server: s, users: newCrowd(s.cfg.MaxStreamsPerService, s.cfg.Wait)}
	e.ctx, e.closing = context.WithCancel(s.streams)
	return e
}

// Accept returns the next user who has a place.
func (e *entrance) Accept() (net.Conn, error) {
	for {
		user, err := e.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if e.users.enter(e.ctx) {
			if e.server.users.enter(e.ctx) {
				return user, nil
			}
			e.users.leave()
		}
		if e.ctx.Err() == nil {
			e.turnedAway(user)
		}
		relay.Reset(user)
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
	e.users.leave()
	e.server.users.leave()
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

// pooled counts the pooled connections of all sessions.
func (s *Server) pooled() (n int) {
	for _, c := range s.allSessions() {
		st := c.pool.Stats()
		n += st.Idle + st.Out
	}
	return n
}
