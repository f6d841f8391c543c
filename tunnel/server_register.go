package tunnel

import (
	"fmt"
	"log/slog"
	"net"
	"strconv"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/service"
	"github.com/tunnelpool/pool/internal/wire"
)

// alive reports whether the client of a session answers.
func (c *serverSession) alive() bool { return alive(c.server.streams, c.link) }

// registerAll answers the client's registrations and withdrawals, and what it asks
// about them, one at a time: a port may be held by another client that has to be
// asked first. It ends with the link.
func (c *serverSession) registerAll() {
	for {
		select {
		case m := <-c.registrations:
			switch m := m.(type) {
			case wire.Register:
				c.register(m)
			case wire.Withdraw:
				c.withdraw(m)
			case wire.Ask:
				c.link.Send(c.answer(m))
			}
		case <-c.link.Done():
			return
		}
	}
}

// register brings a service up, or says why not.
func (c *serverSession) register(r wire.Register) {
	sv, code, reason := c.publish(r)
	if code != wire.OK {
		pool.Tell(c.server.log, slog.LevelWarn, "service_denied", c.ofClient("service", r.Name, "port", r.Port, "code", code, "reason", reason),
			"%s: service %q on port %d denied: %s", c.name(), r.Name, r.Port, reason)
		c.takeDown(r.Ref) // what was up under it
		c.mu.Lock()
		c.denied.add(r, reason)
		c.mu.Unlock()
		c.link.Send(wire.Registered{Ref: r.Ref, Code: code, Text: reason})
		return
	}
	c.allowed(r.Ref)
	public := sv.public.Addr()
	pool.Tell(c.server.log, slog.LevelInfo, "service_up",
		c.ofClient("service", r.Name, "group", r.Group, "network", public.Network(), "public", public),
		"%s: service %q is up on %s", c.name(), r.Name, onNetwork(r.Network, public.String()))
}

func (c *serverSession) publish(r wire.Register) (*published, wire.DenyCode, string) {
	s := c.server
	r, code, reason := c.permit(r)
	if code != wire.OK {
		return nil, code, reason
	}
	for {
		sv, holder, code, reason := c.claimOrListen(r)
		if holder == nil {
			return sv, code, reason
		}
		if at := holder.session; at != nil && at.alive() {
			return nil, wire.PortHeld, holder.reason(r)
		}
		if sv := c.takeOver(r, holder); sv != nil {
			pool.Tell(s.log, slog.LevelWarn, "port_taken_over", c.ofClient("service", r.Name, "port", r.Port),
				"%s: takes port %d over from another client, which does not answer", c.name(), r.Port)
			return sv, wire.OK, ""
		}
	}
}

// permit checks what the server's configuration has to say of r, and returns it
// with the address that the port is bound to.
func (c *serverSession) permit(r wire.Register) (wire.Register, wire.DenyCode, string) {
	s := c.server
	if _, err := parseSources(r.Sources); err != nil {
		return r, wire.BadRequest, "the prefixes of users: " + err.Error()
	}
	if s.isOwnPort(r.Network, r.Port) {
		return r, wire.PortNotAllowed, fmt.Sprintf("port %d is the tunnel's own", r.Port)
	}
	if reason := c.portDenied(r.Port); reason != "" {
		return r, wire.PortNotAllowed, reason
	}
	bind, code, reason := s.bindFor(r.Bind)
	r.Bind = bind
	return r, code, reason
}

// holding is what another client has that this one asks for.
type holding struct {
	service *published
	group   string // of service
	name    string // of service
	sources string // of service
	owner   *publisher
	session *serverSession // nil while that client is away
}

// claimOrListen finds the service, or opens its port. Of the clients of a group
// that ask at the same time, the first opens it for all.
func (c *serverSession) claimOrListen(r wire.Register) (*published, *holding, wire.DenyCode, string) {
	if r.Group != "" {
		c.server.grouping.Lock()
		defer c.server.grouping.Unlock()
	}
	sv, holder, code, reason := c.claim(r)
	if sv == nil && holder == nil && code == wire.OK {
		sv, code, reason = c.listen(r)
	}
	return sv, holder, code, reason
}

// claim looks for the service among those whose ports are open: the client's
// own from a former session, or that of its group, which are up here then; or
// another client's, which is returned. None of them, and no code: the port is to
// be opened.
func (c *serverSession) claim(r wire.Register) (*published, *holding, wire.DenyCode, string) {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	p := c.publisher
	if sv := c.renewLocked(r); sv != nil {
		return sv, nil, wire.OK, ""
	}
	if code, reason := c.roomLocked(r.Ref, r.Port); code != wire.OK {
		return nil, nil, code, reason
	}
	for _, sv := range p.services {
		b := sv.of(p)
		switch {
		case !sv.matches(r):
		case b.session != nil && r.Port == 0: // another one of the server's choice
		case b.session != nil:
			return nil, nil, wire.PortHeld, fmt.Sprintf("port %d is another service of the same client", r.Port)
		default: // who is away is the only one
			sv.upLocked(b, c, r)
			return sv, nil, wire.OK, ""
		}
	}
	if sv := s.groupLocked(p.member, r); sv != nil {
		return c.joinGroupLocked(sv, r)
	}
	if holder, code, reason := s.inTheWayLocked(p.member, r); holder != nil || code != wire.OK {
		return nil, holder, code, reason
	}
	if len(p.services) >= maxServices {
		return nil, nil, wire.TooMany, tooManyServices
	}
	code, reason := s.roomForPortLocked()
	return nil, nil, code, reason
}

// inTheWayLocked finds another client's service on the port that a client asks for:
// one with the same key is returned, one with another is a reason.
func (s *Server) inTheWayLocked(asker member, r wire.Register) (*holding, wire.DenyCode, string) {
	for _, other := range s.publishers {
		for _, sv := range other.services {
			if other.member == asker || r.Port == 0 || !sv.collides(r) {
				continue
			}
			if other.key != asker.key {
				return nil, wire.PortHeld, fmt.Sprintf("port %d is held by a client with another key", r.Port)
			}
			return &holding{sv, sv.group, sv.name, sv.sources, other, sv.of(other).session}, wire.OK, ""
		}
	}
	return nil, wire.OK, ""
}

// roomForPortLocked checks that one more public port may be opened.
func (s *Server) roomForPortLocked() (wire.DenyCode, string) {
	if s.portsLocked() >= s.maxPorts {
		return wire.TooMany, fmt.Sprintf("the server has %d public ports open, which is its limit", s.maxPorts)
	}
	return wire.OK, ""
}

var tooManyServices = fmt.Sprintf("a client may have %d services", maxServices)

// roomLocked checks that a service may come up under ref, on port unless that is
// still to be chosen.
func (c *serverSession) roomLocked(ref, port uint16) (wire.DenyCode, string) {
	if code, reason := c.fitLocked(port); code != wire.OK {
		return code, reason
	}
	if c.upUnderLocked(ref) != nil {
		return wire.BadRequest, "the service is up already"
	}
	return wire.OK, ""
}

// fitLocked checks that the session and its key may have a service on port,
// unless that is still to be chosen.
func (c *serverSession) fitLocked(port uint16) (wire.DenyCode, string) {
	if c.publisher.session != c || c.over() || c.server.draining {
		return wire.Shutdown, "the session is ending"
	}
	if reason := c.portDenied(port); reason != "" {
		return wire.PortNotAllowed, reason
	}
	if port != 0 {
		if reason := c.holder.mayPublish(port); reason != "" {
			return wire.PortNotAllowed, reason
		}
	}
	return wire.OK, ""
}

// matches reports whether r asks for this service of its own client. What the
// server chose a port for is known by its name.
func (sv *published) matches(r wire.Register) bool {
	if sv.network != r.Network || sv.bind != r.Bind {
		return false
	}
	if r.Port == 0 {
		return sv.asked == 0 && sv.name == r.Name
	}
	return sv.port() == r.Port
}

// collides reports whether this service's port is in the way of r.
func (sv *published) collides(r wire.Register) bool {
	if sv.network != r.Network || sv.port() != r.Port {
		return false
	}
	mine, theirs := net.ParseIP(sv.bind), net.ParseIP(r.Bind)
	return everywhere(mine) || everywhere(theirs) || mine.Equal(theirs)
}

func everywhere(ip net.IP) bool { return ip == nil || ip.IsUnspecified() }

func (sv *published) port() uint16 {
	return portOfAddr(sv.public.Addr())
}

// upLocked makes the service one of the session, as b. Its users go on, after the
// client has been told.
func (sv *published) upLocked(b *backend, c *serverSession, r wire.Register) {
	c.link.Send(wire.Registered{Ref: r.Ref, Addr: sv.public.Addr().String()})
	b.session, b.ref, b.mute = c, r.Ref, false // a session is a sign of life
	sv.name, sv.group, sv.sources = r.Name, r.Group, r.Sources
	from, _ := parseSources(r.Sources) // publish has read it
	sv.from.set(from)
	sv.announceLocked()
	c.publisher.announceLocked()
	c.mu.Lock()
	c.refs[r.Ref] = b
	c.mu.Unlock()
}

// takeOver moves a service to this session from a client that does not answer,
// with the users who wait for it. Nil: the holder has changed meanwhile, or the
// port has to be opened anew.
func (c *serverSession) takeOver(r wire.Register, h *holding) *published {
	if h.session != nil { // before the lock: to close can take a while
		h.session.link.Close(fmt.Errorf("no answer while %s asked for port %d", c.name(), r.Port))
	}
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	sv := h.service
	b := sv.of(h.owner)
	if code, _ := c.roomLocked(r.Ref, r.Port); code != wire.OK || sv.withdrawn || b == nil ||
		b.session != nil && b.session != h.session {
		return nil
	}
	if sv.shared() || sv.bind != r.Bind || len(c.publisher.services) >= maxServices {
		h.owner.withdrawLocked(sv)
		return nil
	}
	h.owner.services = remove(h.owner.services, sv)
	h.owner.announceLocked()
	c.publisher.services = append(c.publisher.services, sv)
	b = &backend{owner: c.publisher}
	sv.backends[0] = b
	sv.upLocked(b, c, r)
	return sv
}

func remove(services []*published, gone *published) []*published {
	left := make([]*published, 0, len(services))
	for _, sv := range services {
		if sv != gone {
			left = append(left, sv)
		}
	}
	return left
}

// listen opens a public port.
func (c *serverSession) listen(r wire.Register) (*published, wire.DenyCode, string) {
	s := c.server
	sv := &published{server: s, holder: c.holder, network: r.Network, bind: r.Bind, asked: r.Port}
	l, err := s.listenPublic(c.holder, r.Network, sv.opener(), r.Bind, r.Port)
	if err != nil {
		code, reason := s.listenReason(r.Port, err)
		return nil, code, reason
	}
	b := &backend{owner: c.publisher}
	sv.backends, sv.changed = []*backend{b}, make(chan struct{})
	sv.entrance = s.newEntrance(l, &sv.from, c.holder)
	sv.public = service.NewPublic(sv.entrance, func(t service.Trouble) {
		tellTrouble(s.log, t, facts{"listener", sv.public.Addr()}, fmt.Sprintf("Port %d", sv.port()))
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if code, reason := c.roomLocked(r.Ref, sv.port()); code != wire.OK {
		sv.public.Close()
		return nil, code, reason
	}
	c.publisher.services = append(c.publisher.services, sv)
	sv.upLocked(b, c, r)
	s.tasks.Go(func() { // ends when the port closes; users are tasks of their own
		sv.public.Serve(sv.holder.streams, func(user net.Conn) { s.serveUser(sv, user) })
	})
	return sv, wire.OK, ""
}

// quoted is a name that a peer chose, fit for a log line.
func quoted(name string) string { return strconv.Quote(name) }
