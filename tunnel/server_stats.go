package tunnel

import (
	"errors"
	"slices"
	"strings"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
)

// ServerStats are a server's state and its counters since it was made.
type ServerStats struct {
	Sessions  int              // clients connected
	Clients   []SessionStatus  // those, the longest connected first
	Services  []ServiceStatus  // services with an open port, and those that are denied, by client
	Forwards  []ServiceStatus  // targets that users of clients may reach, by client
	Streams   uint64           // streams opened, those of users offered again included
	Carried   uint64           // of those, the ones on a carrier, for want of an idle connection
	Open      int              // users being served or waiting, those of forwards included
	Waiting   int              // users of services who wait for a connection, or for their client
	Forwarded uint64           // users of forwards whose target was dialed
	Timeouts  uint64           // users that waited in vain for a connection
	Overflow  uint64           // users turned away because there were too many
	Elsewhere uint64           // users reset because of where they came from, see [Service.AllowFrom]
	Asked     uint64           // times an acknowledgement was late and the client was asked
	Replays   uint64           // times a user was offered on another connection
	NoAck     uint64           // users lost because a client did not take them
	FromUsers int64            // bytes users sent through tunnels, counted when a user leaves
	ToUsers   int64            // bytes users received, likewise
	FirstByte pool.Histogram   // of all services, see [Traffic]
	Dropped   uint64           // datagrams of UDP services that did not get on here
	Pools     []pool.Stats     // one per client connected
	Door      pool.AcceptStats // the tunnel port's front door

	// Headerless are the users who came by a trusted proxy that sent no proper
	// header, and were reset.
	Headerless uint64
}

// Stats returns the server's state and counters.
func (s *Server) Stats() ServerStats {
	st := ServerStats{
		Streams: s.count.streams.Load(), Carried: s.count.carried.Load(), Open: s.active.count(),
		Forwarded: s.count.forwarded.Load(),
		Timeouts:  s.count.timeouts.Load(), Overflow: s.count.overflowed.Load(), Elsewhere: s.count.elsewhere.Load(), NoAck: s.count.noAck.Load(),
		Asked: s.count.asked.Load(), Replays: s.count.replays.Load(),
		FromUsers: s.count.sent.Load(), ToUsers: s.count.received.Load(),
		Dropped: s.count.dropped.Load(),
		Door:    s.door.Stats(),
	}
	st.Headerless = s.proxies.headerless.Load()
	st.FirstByte = s.count.firstByte.Histogram()
	sessions := s.allSessions()
	slices.SortFunc(sessions, func(a, b *serverSession) int { return a.since.Compare(b.since) })
	st.Sessions = len(sessions)
	st.Services, st.Waiting = s.servicesNow()
	for _, c := range sessions {
		now := c.status()
		st.Clients, st.Pools = append(st.Clients, now), append(st.Pools, now.Pool)
		st.Forwards = append(st.Forwards, c.forwards.status(c.who.Name)...)
		st.Services = append(st.Services, c.deniedNow()...)
	}
	slices.SortFunc(st.Services, byClient)
	return st
}

// Ready reports why the server lets no client in, or nil while it does: from when
// Run is called until it is stopped.
func (s *Server) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining || s.streams.Err() != nil:
		return errors.New("the server is stopping")
	case !s.running:
		return errors.New("the server is starting")
	}
	return nil
}

// status is what Stats tells of a session.
func (c *serverSession) status() SessionStatus {
	st := SessionStatus{
		Client: c.who.Name, Addr: c.remote.String(), Key: c.holder.grant.Load().plainLabel(), Since: c.since,
		Open: int(max(c.open.Load(), 0)), Carriers: c.carriers.count(), Carried: c.carried.Load(), Pool: c.pool.Stats(),
	}
	st.RoundTrip, _ = c.link.RTT()
	if p := c.forwards.connections(); p != nil {
		st.Forwarding = p.Stats()
	}
	return st
}

// servicesNow lists the services whose ports are open, in no order, and counts the
// users who wait.
func (s *Server) servicesNow() (all []ServiceStatus, waiting int) {
	s.mu.Lock()
	for _, p := range s.publishers {
		waiting += int(p.waiting.Load())
		for _, sv := range p.services {
			b := sv.of(p)
			st := ServiceStatus{
				Client: p.name, Name: sv.name, Group: sv.group, Addr: sv.public.Addr().String(),
				UDP: sv.network == wire.NetworkUDP, Up: b.session != nil, Traffic: b.traffic.now(),
			}
			st.Traffic.Open = int(b.open.Load())
			if !st.Up {
				st.Reason = "the client is away; its users are held"
			}
			all = append(all, st)
		}
	}
	s.mu.Unlock() // users wait for it; so they are not sorted before
	return all, waiting
}

// status lists the targets of a client.
func (fs *serverForwards) status(client string) (all []ServiceStatus) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, t := range fs.targets {
		all = append(all, ServiceStatus{
			Client: client, Name: t.address, Target: t.address, UDP: t.network == wire.NetworkUDP, Up: true, Traffic: t.traffic.now(),
		})
	}
	slices.SortFunc(all, byClient)
	return all
}

func byClient(a, b ServiceStatus) int {
	if c := strings.Compare(a.Client, b.Client); c != 0 {
		return c
	}
	if c := strings.Compare(a.Name, b.Name); c != 0 {
		return c
	}
	return strings.Compare(a.Addr, b.Addr)
}
