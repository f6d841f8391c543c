package tunnel

import (
	"context"
	"crypto/rand"
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
// configured keys for a control connection, and for a pooled one the session's,
// so that no other key and no other session passes.
func (s *Server) keyOf(h pool.Hello) (pool.Key, bool) {
	switch h.Kind {
	case wire.KindControl:
		for _, k := range s.cfg.Keys {
			if k.ID() == h.KeyID {
				return k, true
			}
		}
	case wire.KindPool:
		if c := s.sessionOf(h.Data); c != nil && c.key.ID() == h.KeyID {
			return c.poolKey, true
		}
	}
	return pool.Key{}, false
}

func (s *Server) sessionOf(hello []byte) *serverSession {
	id, err := wire.ParseSession(hello)
	if err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[id]
}

// welcome is what the front door does with a proven connection.
func (s *Server) welcome(ctx context.Context, conn net.Conn, hello pool.Hello) {
	switch hello.Kind {
	case wire.KindPool:
		c := s.sessionOf(hello.Data)
		if c == nil {
			conn.Close()
			return
		}
		if err := c.pool.Admit(ctx, conn); err != nil {
			s.log.Debug("%s: pooled connection not admitted: %v", c.name(), err)
		}
	case wire.KindControl:
		s.join(conn, hello)
	default:
		conn.Close()
	}
}

// join makes a session of a control connection, or denies it with a reason.
func (s *Server) join(conn net.Conn, hello pool.Hello) {
	link := session.New(conn, s.cfg.Heartbeat)
	who, err := wire.ParseJoin(hello.Data)
	if err != nil {
		s.deny(link, wire.BadRequest, "the client's introduction is malformed; do both ends have the same version?")
		return
	}
	c, err := s.newSession(link, conn, hello.KeyID, who)
	if err != nil {
		s.log.Error("%q at %s: no session: %v", who.Name, conn.RemoteAddr(), err)
		s.deny(link, wire.Internal, "the server could not make a session; its log says more")
		return
	}
	replaced, ok := s.enter(c)
	if !ok {
		c.endWaits()
		c.pool.Close()
		s.deny(link, wire.Shutdown, "the server is stopping")
		return
	}
	if replaced != nil {
		replaced.stopAccepting()
		c.continueAfter(replaced)
		replaced.sayGoodbye(wire.GoAway{Code: wire.Replaced, Text: "the same client joined again"})
		s.tasks.Go(func() { replaced.link.Finish(farewellLimit) }) // ends within farewellLimit
	}
	go c.run() // ends with its control connection; Run waits for it
}

// continueAfter goes on with the numbers of a session of the same instance,
// which may have opened streams that the client has not heard of. It opens no
// more.
func (c *serverSession) continueAfter(old *serverSession) {
	if old.who.Instance != c.who.Instance {
		return
	}
	old.mu.Lock()
	last := old.lastStream
	old.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastStream = max(c.lastStream, last)
}

// deny tells a client why it may not join, and ends its connection.
func (s *Server) deny(link *session.Link, code wire.DenyCode, text string) {
	s.tasks.Go(func() { // ends within farewellLimit
		go link.Farewell(wire.Deny{Code: code, Text: text}, farewellLimit) // ends with the link
		link.Run(s.streams, func(wire.Message) error { return nil })
	})
}

func (s *Server) newSession(link *session.Link, conn net.Conn, keyID pool.KeyID, who wire.Join) (*serverSession, error) {
	c := &serverSession{
		server: s, link: link, who: who, remote: conn.RemoteAddr(),
		services:  make(map[uint16]*published),
		registers: rate.NewLimiter(registerRate, registerBurst),
	}
	c.waits, c.endWaits = context.WithCancel(s.streams)
	for _, k := range s.cfg.Keys {
		if k.ID() == keyID {
			c.key = k
		}
	}
	rand.Read(c.id[:])
	rand.Read(c.secret[:])
	c.poolKey = c.key.Session(c.secret[:])
	c.lastStream = who.LastStream
	var err error
	c.pool, err = pool.NewServer(pool.ServerConfig{
		HandshakeTimeout: s.cfg.HandshakeTimeout,
		Limits:           pool.Limits{MaxCap: s.cfg.PoolMax},
		OnWait:           c.need,
		Logger:           s.log,
	})
	if err != nil {
		c.endWaits()
	}
	return c, err
}

// enter makes a session known. It returns the one that it replaces: the same
// identity with the same key, back before its loss was noticed.
func (s *Server) enter(c *serverSession) (replaced *serverSession, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining || s.streams.Err() != nil {
		return nil, false
	}
	for _, other := range s.sessions {
		if other.who.Identity == c.who.Identity && other.key.ID() == c.key.ID() {
			replaced = other
			delete(s.sessions, other.id)
		}
	}
	// First of all: once the session is known, users of its predecessor may
	// send cancels on it.
	c.link.Send(wire.Welcome{
		Session: c.id, Secret: c.secret, Heartbeat: s.cfg.Heartbeat,
		PoolMax: uint32(s.cfg.PoolMax), MaxServices: maxServices,
	})
	s.sessions[c.id] = c
	if n, ok := s.numbers[c.member()]; ok {
		if n.instance == c.who.Instance {
			c.lastStream = max(c.lastStream, n.number)
		}
		delete(s.numbers, c.member())
	}
	close(s.changed)
	s.changed = make(chan struct{})
	s.tasks.Add(1)
	return replaced, true
}

// member is one client, whatever its process: an identity with a key.
type member struct {
	key      pool.KeyID
	identity [16]byte
}

// lastNumber is the highest stream number that an instance was given.
type lastNumber struct {
	instance [16]byte
	number   uint32
}

// maxNumbers bounds the clients without a session whose numbers are known. The
// client remembers them too; this covers those that it never heard of, for the
// session that it comes back with.
const maxNumbers = 4096

func (c *serverSession) member() member { return member{c.key.ID(), c.who.Identity} }

// leave forgets a session, but not its numbers.
func (s *Server) leave(c *serverSession) {
	c.mu.Lock()
	last := c.lastStream
	c.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[c.id] != c {
		return // replaced
	}
	delete(s.sessions, c.id)
	if last <= c.who.LastStream {
		return // the client knows
	}
	if len(s.numbers) >= maxNumbers {
		for other := range s.numbers {
			delete(s.numbers, other)
			break
		}
	}
	s.numbers[c.member()] = lastNumber{c.who.Instance, last}
}

// holderBut names the client other than c that has a public port, or "".
func (s *Server) holderBut(c *serverSession, port uint16) string {
	for _, other := range s.allSessions() {
		if other != c && other.hasPort(port) {
			return other.name()
		}
	}
	return ""
}
