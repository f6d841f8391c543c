package tunnel

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/handoff"
	"github.com/tunnelpool/pool/internal/service"
	"github.com/tunnelpool/pool/internal/wire"
)

// maxAbsent bounds the clients without a session whose stream numbers are
// remembered. The client remembers them too; this covers those that it never
// heard of, for the session that it comes back with.
const maxAbsent = 4096

// maxAbsentOutcomes bounds those of them whose forwards' streams are remembered
// too, half a MB each. Of one that is forgotten all are unknown.
const maxAbsentOutcomes = 256

// member is one client, whatever its process: an identity with a key.
type member struct {
	key      pool.KeyID
	identity [16]byte
}

// publisher is one client over all its sessions. While it is away, its public
// ports stay open for the linger time and hold their users. All fields but
// waiting are guarded by Server.mu.
type publisher struct {
	member
	name     string         // of the latest session, as the client sent it
	session  *serverSession // nil while the client is away
	services []*published   // at most maxServices
	numbers  *numbering     // of the latest instance
	linger   *time.Timer    // closes what is not up again in time; nil before the first loss
	changed  chan struct{}  // closed and replaced when the session or a service changes
	unfavor  func()         // ends what favorLocked began; nil before the first session

	waiting atomic.Int64 // users that wait for a connection, or for the client
}

// published is a service with its public port. It may change hands between the
// sessions of its client, and to another client in a takeover; its users go
// along. The clients of a group have it together. The fields below entrance are
// guarded by Server.mu.
type published struct {
	server   *Server
	network  byte        // of its port
	bind     string      // as the server decided on it, before it listened
	asked    uint16      // port, 0: the server's choice
	holder   *holder     // of the key of all clients that have it
	from     userSources // who may come
	public   *service.Public
	entrance *entrance // its listener
	lost     lostDatagrams

	name      string
	group     string        // whose clients share it; empty: it is one client's
	sources   string        // as registered
	backends  []*backend    // the clients that have it; at least one, without a group at most one
	former    []*backend    // of clients that were lost and left users behind, who go on
	turn      int           // of backends, the first to be looked at for the next user
	changed   chan struct{} // closed and replaced when it comes up somewhere, or is withdrawn
	line      line          // its users who are held
	withdrawn bool          // the port is closed
}

// label is what logs call the service. Peers chose both names.
func (sv *published) label() string {
	s := sv.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if sv.group != "" {
		return fmt.Sprintf("Group %q: service %q", sv.group, sv.name)
	}
	return fmt.Sprintf("%q: service %q", sv.backends[0].owner.name, sv.name)
}

// numbering numbers the streams that one side opens in an instance of a client,
// over all its sessions.
type numbering struct {
	instance  [16]byte
	announced announced // the other way: streams that the other side opens

	mu   sync.Mutex
	last uint32
}

// lastNumber is not given to a stream.
const lastNumber = 1<<32 - 1

// next takes a number and has it sent, in one critical section, so that numbers
// go out in order. ok is false when they are used up.
func (n *numbering) next(send func(number uint32)) (number uint32, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.last >= lastNumber-1 {
		return lastNumber, false
	}
	n.last++
	send(n.last)
	return n.last, true
}

func (n *numbering) latest() uint32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last
}

// atLeast takes the client's word for a number that it has seen.
func (n *numbering) atLeast(number uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last = max(n.last, number)
}

// announceLocked wakes those who wait for the client or one of its services.
func (p *publisher) announceLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// publisherLocked finds the client, or makes it known.
func (s *Server) publisherLocked(m member) *publisher {
	p := s.publishers[m]
	if p == nil {
		p = &publisher{member: m, changed: make(chan struct{})}
		s.publishers[m] = p
	}
	return p
}

// returnedLocked gives the client its new session. Services stay held until
// they are registered in it.
func (p *publisher) returnedLocked(c *serverSession) {
	p.awayLocked()
	if p.numbers == nil || p.numbers.instance != c.who.Instance {
		p.numbers = &numbering{instance: c.who.Instance}
		p.numbers.announced.outcomes = handoff.Ledger{Most: maxForwardOutcomes, Midway: true} // this server may have been started since
	}
	p.numbers.atLeast(c.who.LastStream)
	p.name, p.session, c.publisher, c.numbers = c.who.Name, c, p, p.numbers
	p.announceLocked()
}

// favorLocked gives the client's address a share of the front door that
// strangers cannot take, for its further connections and, as long as a port of
// it is open, for its return.
func (p *publisher) favorLocked(c *serverSession) {
	former := p.unfavor
	p.unfavor = c.server.door.Favor(c.remote)
	if former != nil {
		former()
	}
}

// leave forgets a session whose control connection is gone. Its services hold
// their users from here on.
func (s *Server) leave(c *serverSession) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked(c)
	p := c.publisher
	if p.session != c {
		return // replaced
	}
	p.session = nil
	p.awayLocked()
	switch {
	case s.draining || s.streams.Err() != nil || s.cfg.Load().Linger < 0:
		p.withdrawLocked(p.services...)
	case p.linger == nil:
		p.linger = time.AfterFunc(s.cfg.Load().Linger, func() { s.lingered(p) })
	default:
		p.linger.Reset(s.cfg.Load().Linger)
	}
	p.announceLocked()
	s.trimLocked(p)
}

// lingered closes the services that their client has not come back for.
func (s *Server) lingered(p *publisher) {
	s.mu.Lock()
	away, name, lost := p.session == nil, p.name, p.dropAbsentLocked()
	s.trimLocked(p)
	s.mu.Unlock()
	if away && lost > 0 {
		linger := s.cfg.Load().Linger
		pool.Tell(s.log, slog.LevelWarn, "client_gone", facts{"client", name, "waited_seconds", linger, "services", lost},
			"%q did not come back within %v: its %d public ports are closed", name, linger, lost)
	} else {
		s.tellGone(name, lost)
	}
}

// dropAbsentLocked closes the ports of services that are up in no session, and
// returns how many there were.
func (p *publisher) dropAbsentLocked() int {
	var lost []*published
	for _, sv := range p.services {
		if sv.of(p).session == nil {
			lost = append(lost, sv)
		}
	}
	p.withdrawLocked(lost...)
	return len(lost)
}

// tellGone tells that a client is back without some of its services.
func (s *Server) tellGone(client string, services int) {
	if services > 0 {
		pool.Tell(s.log, slog.LevelInfo, "services_gone", facts{"client", client, "services", services},
			"%q is back without %d of its services: their public ports are closed", client, services)
	}
}

// trimLocked forgets a client of which nothing needs to be known, and bounds
// those of which only the stream numbers are.
func (s *Server) trimLocked(p *publisher) {
	if !p.absentLocked() {
		return
	}
	if p.unfavor != nil {
		p.unfavor()
	}
	if s.publishers[p.member] != p {
		return // forgotten before; it may be back, as another
	}
	if p.numbers == nil || p.numbers.latest() == 0 && p.numbers.announced.last() == 0 {
		delete(s.publishers, p.member)
		return
	}
	if p.numbers.announced.last() != 0 {
		s.forgetOutcomesLocked()
	}
	if len(s.publishers) < maxAbsent+s.cfg.Load().MaxSessions {
		return
	}
	for m, other := range s.publishers {
		if other.absentLocked() {
			delete(s.publishers, m)
			return
		}
	}
}

// forgetOutcomesLocked forgets clients beyond maxAbsentOutcomes.
func (s *Server) forgetOutcomesLocked() {
	kept := 0
	for m, p := range s.publishers {
		if !p.absentLocked() || p.numbers == nil || p.numbers.announced.last() == 0 {
			continue
		}
		if kept++; kept > maxAbsentOutcomes {
			delete(s.publishers, m)
		}
	}
}

func (p *publisher) absentLocked() bool { return p.session == nil && len(p.services) == 0 }

// withdraw closes all public ports of a session that will open no streams.
// Users that are being served stay; those that wait are turned away.
func (s *Server) withdraw(c *serverSession) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := c.publisher; p.session == c {
		p.withdrawLocked(p.services...)
	}
}

// withdrawLocked closes public ports of p, or leaves them to the others of their
// group.
func (p *publisher) withdrawLocked(services ...*published) {
	if len(services) == 0 {
		return
	}
	for _, sv := range services {
		p.services = remove(p.services, sv)
		if sv.shared() {
			sv.loseLocked(p)
			continue
		}
		sv.withdrawn, sv.backends[0].session = true, nil
		sv.public.Close()
		sv.announceLocked()
	}
	p.announceLocked()
}

// withdrawAll closes the public ports of every client, those away included.
func (s *Server) withdrawAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.publishers {
		if p.linger != nil {
			p.linger.Stop()
		}
		p.withdrawLocked(p.services...)
	}
}

// lateSession is a session that has ended, for pooled connections that its
// client had dialed before it knew.
type lateSession struct {
	key     pool.KeyID
	poolKey pool.Key
}

const (
	// lateTime is how long an ended session's connections are told from
	// strangers.
	lateTime = 15 * time.Second
	maxLate  = 1024
)

// forgetLocked ends a session's entry among the living.
func (s *Server) forgetLocked(c *serverSession) {
	if s.sessions[c.id] != c {
		return
	}
	delete(s.sessions, c.id)
	if len(s.late) >= maxLate {
		return
	}
	s.late[c.id] = lateSession{c.holder.key, c.poolKey}
	time.AfterFunc(lateTime, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.late, c.id)
	})
}

// sessionKeyOf is what the connections of a session must prove, all but its
// control connection.
func (s *Server) sessionKeyOf(id [wire.SessionSize]byte, key pool.KeyID) (pool.Key, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.sessions[id]; c != nil {
		return c.poolKey, c.holder.key == key
	}
	late, ok := s.late[id]
	return late.poolKey, ok && late.key == key
}
