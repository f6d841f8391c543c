package tunnel

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/tunnelpool/pool/internal/wire"
)

// maxBackends bounds the clients that share a port: each user costs a look at
// all of them.
const maxBackends = 256

// backend is one client's part in a service. All fields but open and traffic are
// guarded by Server.mu.
type backend struct {
	owner   *publisher
	session *serverSession // that it is up in; nil: the client is away
	ref     uint16         // the session's number for the service
	trust   trust          // of the server, where there are others
	mute    bool           // it failed a user, and has given no sign of life since

	open    atomic.Int64 // users that are offered to it or served
	traffic traffic
}

// up reports whether users can be offered to it.
func (b *backend) up() bool { return b.session != nil && !b.session.over() }

// of is a client's part in the service, or nil.
func (sv *published) of(p *publisher) *backend {
	for _, b := range sv.backends {
		if b.owner == p {
			return b
		}
	}
	return nil
}

// shared reports whether several clients have the service.
func (sv *published) shared() bool { return len(sv.backends) > 1 }

// announceLocked wakes those who wait for the service.
func (sv *published) announceLocked() {
	close(sv.changed)
	sv.changed = make(chan struct{})
}

// loseLocked takes a client's part from a service that others have too.
func (sv *published) loseLocked(p *publisher) {
	sv.backends = slices.DeleteFunc(slices.Clone(sv.backends), func(b *backend) bool { return b.owner == p })
}

// rememberLocked keeps the part of a client that is lost, for the users on it.
func (sv *published) rememberLocked(lost *backend) {
	lost.session, lost.mute = nil, false
	sv.former = slices.DeleteFunc(sv.former, func(b *backend) bool { return b.open.Load() == 0 })
	if len(sv.former) < maxBackends && lost.open.Load() > 0 {
		sv.former = append(sv.former, lost)
	}
}

// backendLocked is the part of a client that comes to share the service: its
// former one, if users are still on it.
func (sv *published) backendLocked(p *publisher) *backend {
	for i, b := range sv.former {
		if b.owner == p {
			sv.former = slices.Delete(sv.former, i, i+1)
			return b
		}
	}
	return &backend{owner: p}
}

// lostToLocked reports whether a client will not have the service in its next
// session. One of a group comes back to it.
func (sv *published) lostToLocked(p *publisher) bool {
	return sv.withdrawn || sv.group == "" && sv.backends[0].owner != p
}

// awayLocked leaves the client's services without a session: the ports that are
// its own hold their users, those of a group are the others'.
func (p *publisher) awayLocked() {
	for _, sv := range p.services {
		if sv.shared() {
			sv.rememberLocked(sv.of(p))
			sv.loseLocked(p)
			p.services = remove(p.services, sv)
			continue
		}
		sv.backends[0].session = nil
	}
}

// groupLocked finds the service that other clients of the asker's key have for the
// group of r, or nil.
func (s *Server) groupLocked(asker member, r wire.Register) *published {
	if r.Group == "" {
		return nil
	}
	p := s.publishers[asker] // nil: it has none
	for _, other := range s.publishers {
		for _, sv := range other.services {
			if sv.group == r.Group && sv.holder.key == asker.key && sv.name == r.Name && sv.sources == r.Sources && sv.matches(r) && sv.of(p) == nil {
				return sv
			}
		}
	}
	return nil
}

// joinGroupLocked makes the session's client one of those that have the service.
// One that was lost has no part in it any more.
func (c *serverSession) joinGroupLocked(sv *published, r wire.Register) (*published, *holding, wire.DenyCode, string) {
	p := c.publisher
	if len(p.services) >= maxServices {
		return nil, nil, wire.TooMany, tooManyServices
	}
	if code, reason := sv.roomLocked(); code != wire.OK {
		return nil, nil, code, reason
	}
	b := sv.backendLocked(p)
	sv.backends = append(slices.Clone(sv.backends), b)
	p.services = append(p.services, sv)
	for _, other := range sv.backends {
		if other != b && other.session == nil {
			sv.loseLocked(other.owner)
			other.owner.services = remove(other.owner.services, sv)
			c.server.trimLocked(other.owner)
		}
	}
	sv.upLocked(b, c, r)
	return sv, nil, wire.OK, ""
}

// roomLocked checks that one more client may share the service.
func (sv *published) roomLocked() (wire.DenyCode, string) {
	if len(sv.backends) >= maxBackends {
		return wire.TooMany, fmt.Sprintf("%d clients share port %d, which is the limit", maxBackends, sv.port())
	}
	return wire.OK, ""
}

// reason is what a client is told that asks for what another one of its key
// holds.
func (h *holding) reason(r wire.Register) string {
	held := fmt.Sprintf("port %d is held by client %s", r.Port, h.session.name())
	switch {
	case h.group == "":
		return held
	case h.group == r.Group && h.name != r.Name:
		return fmt.Sprintf("%s, and its group knows it as service %s", held, quoted(h.name))
	case h.group == r.Group && h.sources != r.Sources:
		return held + ", and its group lets in other users"
	}
	return fmt.Sprintf("%s, for its group %s", held, quoted(h.group))
}
