package tunnel

import (
	"net"
	"strconv"

	"github.com/tunnelpool/pool/internal/service"
	"github.com/tunnelpool/pool/internal/wire"
)

// answer says what would become of a message if the client that the question is
// for sent it. It changes nothing.
func (c *serverSession) answer(m wire.Ask) wire.Answer {
	a := wire.Answer{About: m.About.Type()}
	asker := member{c.holder.key, m.Identity}
	switch about := m.About.(type) {
	case wire.Register:
		a.Ref = about.Ref
		a.Standing, a.Code, a.Text = c.wouldPublish(asker, about)
	case wire.Forward:
		a.Ref = about.Ref
		if a.Text = c.mayForward(about.Target); a.Text != "" {
			a.Code = wire.TargetNotAllowed
		} else if c.server.connected(asker) {
			a.Standing = wire.OwnUp
		}
	}
	return a
}

// connected reports whether a client has a session.
func (s *Server) connected(m member) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.publishers[m]
	return p != nil && p.session != nil
}

// wouldPublish is publish without its effects, for another client of the key.
func (c *serverSession) wouldPublish(asker member, r wire.Register) (wire.Standing, wire.DenyCode, string) {
	s := c.server
	r, code, reason := c.permit(r)
	if code != wire.OK {
		return 0, code, reason
	}
	standing, holder, code, reason := c.standing(asker, r)
	switch {
	case code != wire.OK || standing != wire.Vacant:
		return standing, code, reason
	case holder != nil && holder.session != nil && holder.session.alive():
		return 0, wire.PortHeld, holder.reason(r)
	case holder != nil:
		return wire.HolderDumb, wire.OK, ""
	}
	if err := s.couldOpen(r); err != nil {
		code, reason := s.listenReason(r.Port, err)
		return 0, code, reason
	}
	return wire.Vacant, wire.OK, ""
}

// standing looks for the service among those whose ports are open, as claim does.
func (c *serverSession) standing(asker member, r wire.Register) (wire.Standing, *holding, wire.DenyCode, string) {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if code, reason := c.fitLocked(r.Port); code != wire.OK {
		return 0, nil, code, reason
	}
	p := s.publishers[asker] // nil: nobody that is known
	if p != nil {
		for _, sv := range p.services {
			switch { // its own ports are no obstacle, however it asks for them now
			case !sv.matches(r) && (r.Port == 0 || !sv.collides(r)):
			case sv.of(p).session != nil:
				return wire.OwnUp, nil, wire.OK, ""
			default:
				return wire.OwnAway, nil, wire.OK, ""
			}
		}
		if len(p.services) >= maxServices {
			return 0, nil, wire.TooMany, tooManyServices
		}
	}
	if sv := s.groupLocked(asker, r); sv != nil {
		if code, reason := sv.roomLocked(); code != wire.OK {
			return 0, nil, code, reason
		}
		return wire.GroupShared, nil, wire.OK, ""
	}
	holder, code, reason := s.inTheWayLocked(asker, r)
	if holder == nil && code == wire.OK {
		code, reason = s.roomForPortLocked()
	}
	return wire.Vacant, holder, code, reason
}

// couldOpen says what would keep the server from a port.
func (s *Server) couldOpen(r wire.Register) error {
	if r.Port == 0 {
		return nil // one of many
	}
	s.opening.Lock() // a client that wants the port now must not find it taken by this
	defer s.opening.Unlock()
	network := "tcp"
	if r.Network == wire.NetworkUDP {
		network = "udp"
	} else if l := s.handedOver(r.Bind, r.Port); l != nil {
		if _, taken := s.lent.Load(l); taken {
			return lentAlready(l)
		}
		return nil
	}
	return service.CanListen(network, net.JoinHostPort(r.Bind, strconv.Itoa(int(r.Port))))
}
