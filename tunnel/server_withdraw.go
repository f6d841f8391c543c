package tunnel

import (
	"log/slog"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
)

// withdraw takes services down that their client does not want any more. Nothing is
// opened for them after the answer.
func (c *serverSession) withdraw(m wire.Withdraw) {
	if m.What == wire.WhatRest {
		c.takeRestDown()
	} else {
		c.takeDown(m.Ref)
		c.allowed(m.Ref)
	}
	c.link.Send(wire.Withdrawn(m))
}

// takeRestDown closes the ports that are open for the client since a former
// session.
func (c *serverSession) takeRestDown() {
	s := c.server
	s.mu.Lock()
	lost := 0
	if c.publisher.session == c {
		lost = c.publisher.dropAbsentLocked()
	}
	s.mu.Unlock()
	s.tellGone(c.who.Name, lost)
}

// takeDown closes the port of the service that is up under ref, if there is one,
// or leaves it to the others of its group.
func (c *serverSession) takeDown(ref uint16) {
	s := c.server
	s.mu.Lock()
	sv := c.upUnderLocked(ref)
	if sv == nil {
		s.mu.Unlock()
		return
	}
	name, public := sv.name, sv.public.Addr()
	c.takeDownLocked(sv, ref)
	s.mu.Unlock()
	pool.Tell(s.log, slog.LevelInfo, "service_withdrawn", c.ofClient("service", name, "network", public.Network(), "public", public),
		"%s: service %q is withdrawn from %s", c.name(), name, onNetwork(sv.network, public.String()))
}

func (c *serverSession) takeDownLocked(sv *published, ref uint16) {
	c.mu.Lock()
	delete(c.refs, ref)
	c.mu.Unlock()
	c.publisher.withdrawLocked(sv)
}

// upUnderLocked is the service that is up in the session under ref, or nil.
func (c *serverSession) upUnderLocked(ref uint16) *published {
	for _, sv := range c.publisher.services {
		if b := sv.of(c.publisher); b.session == c && b.ref == ref {
			return sv
		}
	}
	return nil
}

// renewLocked is for a service that is up under the number of r, whose client
// wants it otherwise. It is changed without closing its port, if that is what was
// asked for; else it is taken down, and asked for as if it were new.
func (c *serverSession) renewLocked(r wire.Register) *published {
	sv := c.upUnderLocked(r.Ref)
	if sv == nil {
		return nil
	}
	same := sv.name == r.Name && sv.group == r.Group && sv.sources == r.Sources
	if code, _ := c.fitLocked(r.Port); code != wire.OK || !sv.matches(r) || sv.shared() && !same {
		c.takeDownLocked(sv, r.Ref)
		return nil
	}
	sv.upLocked(sv.of(c.publisher), c, r)
	return sv
}

// withdrawForward forgets a target that no user of the client will ask for.
func (c *serverSession) withdrawForward(m wire.Withdraw) {
	if target := c.forwards.forget(m.Ref); target != nil {
		pool.Tell(c.server.log, slog.LevelInfo, "forward_withdrawn", c.ofClient("target", target.address),
			"%s: the forward to %s is withdrawn", c.name(), quoteSafe(target.address))
	}
	c.link.Send(wire.Withdrawn(m))
}

// forget takes a target out. Streams to it go on.
func (fs *serverForwards) forget(ref uint16) *forwardTarget {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	target := fs.targets[ref]
	delete(fs.targets, ref)
	return target
}
