package tunnel

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/relay"
)

func half(n int) int { return max(n/2, 1) }

// entrance is a public port's listener. Who is accepted has a place among its
// service's users, those of its client's key and all, which serveUser gives
// back.
type entrance struct {
	net.Listener
	server  *Server
	crowds  []*crowd     // narrowest first
	from    *userSources // who may come
	holder  *holder      // of its client's key
	ctx     context.Context
	closing context.CancelFunc
}

func (s *Server) newEntrance(l net.Listener, from *userSources, h *holder) *entrance {
	e := &entrance{Listener: l, server: s, from: from, holder: h,
		crowds: []*crowd{newCrowd(s.cfg.Load().MaxStreamsPerService, s.cfg.Load().Wait), h.users, s.users}}
	e.ctx, e.closing = context.WithCancel(h.streams)
	return e
}

// tryEnter takes a place in each crowd, or in none because of one that is full,
// without waiting.
func tryEnter(crowds []*crowd) (full *crowd) {
	for i, c := range crowds {
		if !c.tryEnter() {
			leave(crowds[:i])
			return c
		}
	}
	return nil
}

// Accept returns the next user who may come and has a place.
func (e *entrance) Accept() (net.Conn, error) {
	for {
		user, err := e.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if !e.server.proxySpeaks(user) && !e.from.allow(user.RemoteAddr()) {
			e.server.fromElsewhere(user.RemoteAddr(), e.Addr())
			relay.Reset(user)
			continue
		}
		full := e.enter()
		if full == nil {
			return user, nil
		}
		if e.ctx.Err() == nil {
			e.turnedAway(user, full)
		}
		relay.Reset(user)
	}
}

// enter takes a place in each crowd, or in none because of one that is full.
func (e *entrance) enter() (full *crowd) {
	for i, c := range e.crowds {
		if !c.enter(e.ctx) {
			leave(e.crowds[:i])
			return c
		}
	}
	return nil
}

func leave(crowds []*crowd) {
	for _, c := range crowds {
		c.leave()
	}
}

// turnedAway counts a user for whom there was no place, and tells of it now and
// then.
func (e *entrance) turnedAway(user net.Conn, full *crowd) {
	s := e.server
	s.count.overflowed.Add(1)
	muted, ok := s.crowded.pass(time.Now())
	grant := e.holder.grant.Load()
	switch most := grant.MaxStreams; {
	case !ok:
	case full == e.holder.users && most > 0:
		pool.Tell(s.log, slog.LevelWarn, "user_turned_away",
			facts{"user", user.RemoteAddr(), "public", e.Addr(), "key", grant.Name, "key_id", grant.Key.ID(), "limit", most, "muted", muted},
			"No place for user %s on %s: key %s may have %d users at the same time; see its max-streams%s",
			user.RemoteAddr(), e.Addr(), e.holder.label(), most, mutedNote(muted))
	default:
		open := s.active.count()
		pool.Tell(s.log, slog.LevelWarn, "user_turned_away",
			facts{"user", user.RemoteAddr(), "public", e.Addr(), "streams", open, "limit", s.cfg.Load().MaxStreams, "muted", muted},
			"No place for user %s on %s: %d users are being served, of %d in all and %d per service; see --max-streams and the limit of open files (ulimit -n, LimitNOFILE=)%s",
			user.RemoteAddr(), e.Addr(), open, s.cfg.Load().MaxStreams, s.cfg.Load().MaxStreamsPerService, mutedNote(muted))
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
	limit atomic.Int64

	mu      sync.Mutex // guards what follows; Server.mu is taken under it
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
	if int64(b.counted) >= b.limit.Load() {
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
	return !s.severalKeys() || c.holder.pooled.take(now, func() int {
		return s.pooled(func(other *serverSession) bool { return other.holder == c.holder })
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
		if c.holder.key == key {
			n++
		}
	}
	return n
}

// portsLocked counts the public ports that are open.
func (s *Server) portsLocked() (n int) {
	for _, p := range s.publishers {
		for _, sv := range p.services {
			if sv.backends[0].owner == p { // the clients of a group have one together
				n++
			}
		}
	}
	return n
}
