package tunnel

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"time"

	"golang.org/x/time/rate"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/session"
	"github.com/tunnelpool/pool/internal/wire"
)

// farewellLimit bounds how long a last message may take to be written.
const farewellLimit = time.Second

// keyOf finds the key that a connection's proof must be made with: one of the
// configured keys for a control connection, and for all others the session's,
// so that no other key and no other session passes.
func (s *Server) keyOf(h pool.Hello) (pool.Key, bool) {
	switch h.Kind {
	case wire.KindControl:
		grant, ok := s.keyring.Lookup(h.KeyID)
		return grant.Key, ok
	case wire.KindPool, wire.KindForward:
		session, err := wire.ParseSession(h.Data)
		if err == nil {
			return s.sessionKeyOf(session, h.KeyID)
		}
	case wire.KindCarrier:
		hello, err := wire.ParseCarrier(h.Data)
		if err == nil {
			return s.sessionKeyOf(hello.Session, h.KeyID)
		}
	}
	return pool.Key{}, false
}

func (s *Server) sessionOf(id [wire.SessionSize]byte) *serverSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[id]
}

// welcome is what the front door does with a proven connection.
func (s *Server) welcome(ctx context.Context, conn net.Conn, hello pool.Hello) {
	switch hello.Kind {
	case wire.KindPool:
		session, _ := wire.ParseSession(hello.Data) // keyOf has read it
		if c := s.sessionFor(conn, session); c != nil {
			if err := c.pool.Admit(ctx, conn); err != nil {
				pool.Tell(s.log, slog.LevelDebug, "connection_not_admitted", c.ofClient("address", conn.RemoteAddr(), "error", err),
					"%s: pooled connection not admitted: %v", c.name(), err)
			}
		}
	case wire.KindForward:
		session, _ := wire.ParseSession(hello.Data) // keyOf has read it
		if c := s.sessionFor(conn, session); c != nil {
			if err := c.forwards.admit(ctx, conn); err != nil {
				pool.Tell(s.log, slog.LevelDebug, "connection_not_admitted", c.ofClient("address", conn.RemoteAddr(), "error", err),
					"%s: connection for forwards not admitted: %v", c.name(), err)
			}
		}
	case wire.KindCarrier:
		h, _ := wire.ParseCarrier(hello.Data) // keyOf has read it
		if c := s.sessionFor(conn, h.Session); c != nil {
			c.carry(conn, h.Number)
		}
	case wire.KindControl:
		s.join(conn, hello)
	default:
		conn.Close()
	}
}

// sessionFor finds the session that a connection belongs to, if that may have
// one more; else it closes the connection.
func (s *Server) sessionFor(conn net.Conn, id [wire.SessionSize]byte) *serverSession {
	c := s.sessionOf(id)
	switch {
	case c == nil:
	case !s.roomForPooled(c):
		pool.Tell(s.log, slog.LevelDebug, "connection_not_admitted", c.ofClient("address", conn.RemoteAddr(), "limit", s.cfg.Load().MaxPooled),
			"%s: connection not admitted: %d of all clients are the limit", c.name(), s.cfg.Load().MaxPooled)
	default:
		return c
	}
	conn.Close()
	return nil
}

// join makes a session of a control connection, or denies it with a reason.
func (s *Server) join(conn net.Conn, hello pool.Hello) {
	link := session.New(conn, s.cfg.Load().Heartbeat)
	who, err := wire.ParseJoin(hello.Data)
	if err != nil {
		s.deny(link, wire.BadRequest, "the client's introduction is malformed; do both ends have the same version?")
		return
	}
	s.mu.Lock()
	h, known := s.holderLocked(hello.KeyID)
	s.mu.Unlock()
	if !known {
		s.deny(link, wire.Shutdown, "the key is not valid any more") // it was a moment ago
		return
	}
	c, err := s.newSession(link, conn, h, who)
	if err != nil {
		pool.Tell(s.log, slog.LevelError, "session_failed", facts{"client", who.Name, "address", conn.RemoteAddr(), "error", err},
			"%q at %s: no session: %v", who.Name, conn.RemoteAddr(), err)
		s.deny(link, wire.Internal, "the server could not make a session; its log says more")
		return
	}
	if rival := s.rivalOf(c); rival != nil {
		s.tasks.Go(func() { // ends within maxPing
			if rival.alive() {
				pool.Tell(s.log, slog.LevelWarn, "client_denied", c.ofClient("address", c.remote, "code", wire.IdentityInUse, "rival", rival.remote),
					"%s at %s denied: the client at %s has the same identity, and answers", c.name(), c.remote, rival.remote)
				s.refuse(c, wire.IdentityInUse, fmt.Sprintf("another client with the same identity is connected from %s", rival.remote))
				return
			}
			s.admit(c)
		})
		return
	}
	s.admit(c)
}

// rivalOf finds a session of the same identity that may be another program's:
// one of another instance. Within an instance a client knows that it lost the
// former session. One that has said GoAway, or was told so, has nothing more that
// it could lose: its streams finish all the same.
func (s *Server) rivalOf(c *serverSession) *serverSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.publishers[c.member()]
	if p == nil || p.session == nil || p.session.who.Instance == c.who.Instance || p.session.over() {
		return nil
	}
	return p.session
}

// admit lets a session begin, in the place of a former one of the same client.
func (s *Server) admit(c *serverSession) {
	replaced, code, reason := s.enter(c)
	if code != wire.OK {
		s.refuse(c, code, reason)
		return
	}
	if replaced != nil {
		replaced.stop()
		replaced.sayGoodbye(wire.GoAway{Code: wire.Replaced, Text: "the same client joined again"})
		s.tasks.Go(func() { replaced.link.Finish(farewellLimit) }) // ends within farewellLimit
	}
	go c.run() // ends with its control connection; Run waits for it
}

// refuse ends a session that has not begun.
func (s *Server) refuse(c *serverSession, code wire.DenyCode, reason string) {
	c.endWaits()
	c.pool.Close()
	s.deny(c.link, code, reason)
}

// deny tells a client why it may not join, and ends its connection.
func (s *Server) deny(link *session.Link, code wire.DenyCode, text string) {
	link.Send(wire.Deny{Code: code, Text: text}) // before Run: it is the first message
	s.tasks.Go(func() {                          // ends within farewellLimit
		go link.Finish(farewellLimit) // ends with the link
		link.Run(s.streams, func(wire.Message) error { return nil })
	})
}

func (s *Server) newSession(link *session.Link, conn net.Conn, h *holder, who wire.Join) (*serverSession, error) {
	c := &serverSession{
		poolMax: s.cfg.Load().PoolMax,
		server:  s, link: link, who: who, remote: conn.RemoteAddr(), holder: h, since: time.Now(),
		registers:     rate.NewLimiter(registerRate, registerBurst),
		registrations: make(chan wire.Message, registerBurst), refs: make(map[uint16]*backend),
	}
	c.waits, c.endWaits = context.WithCancel(h.streams)
	rand.Read(c.id[:])
	rand.Read(c.secret[:])
	c.poolKey = h.grant.Load().Key.Session(c.secret[:])
	var err error
	c.pool, err = pool.NewServer(pool.ServerConfig{
		HandshakeTimeout: s.cfg.Load().HandshakeTimeout,
		Limits:           pool.Limits{MaxCap: c.poolMax, MaxIdle: int(who.PoolMax)},
		AwaitRunning:     true, // relay says so, at the ACK
		OnWait:           c.need,
		Logger:           s.log,
	})
	if err != nil {
		c.endWaits()
	}
	return c, err
}

// enter makes a session known. It returns the one that it replaces.
func (s *Server) enter(c *serverSession) (replaced *serverSession, code wire.DenyCode, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.publisherLocked(c.member())
	switch {
	case s.draining || s.streams.Err() != nil:
		s.trimLocked(p)
		return nil, wire.Shutdown, "the server is stopping"
	case c.over():
		s.trimLocked(p)
		return nil, wire.Shutdown, "the key is not valid any more"
	case !s.cfg.Load().from.Allow(c.remote): // the door let it in before that changed
		s.trimLocked(p)
		return nil, wire.Shutdown, notFromThere
	case p.session == nil && s.severalKeys() && s.sessionsOfLocked(p.key) >= half(s.cfg.Load().MaxSessions):
		s.trimLocked(p)
		return nil, wire.TooMany, fmt.Sprintf("the server has %d clients with this key, which is its share", half(s.cfg.Load().MaxSessions))
	case p.session == nil && len(s.sessions) >= s.cfg.Load().MaxSessions:
		s.trimLocked(p)
		return nil, wire.TooMany, fmt.Sprintf("the server has %d clients, which is its limit", len(s.sessions))
	}
	if replaced = p.session; replaced != nil {
		s.forgetLocked(replaced)
	}
	// First of all: once the session is known, users of its predecessor may
	// send cancels on it.
	c.link.Send(wire.Welcome{
		Session: c.id, Secret: c.secret, Heartbeat: s.cfg.Load().Heartbeat,
		PoolMax: uint32(c.poolMax), MaxServices: maxServices,
	})
	s.sessions[c.id] = c
	p.returnedLocked(c)
	p.favorLocked(c)
	s.tasks.Add(1)
	return replaced, wire.OK, ""
}

func (c *serverSession) member() member { return member{c.holder.key, c.who.Identity} }
