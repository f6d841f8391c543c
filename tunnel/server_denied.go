package tunnel

import "github.com/tunnelpool/pool/internal/wire"

// deniedServices are those that a session has asked for in vain and still wants, by
// ref: for who looks at the server. At most maxServices are told of.
type deniedServices map[uint16]ServiceStatus

func (d *deniedServices) add(r wire.Register, reason string) {
	if *d == nil {
		*d = make(deniedServices)
	}
	if _, known := (*d)[r.Ref]; known || len(*d) < maxServices {
		(*d)[r.Ref] = ServiceStatus{Name: r.Name, Group: r.Group, UDP: r.Network == wire.NetworkUDP, Reason: "denied: " + reason}
	}
}

// allowed forgets that a service was denied: it is up, or not wanted any more.
func (c *serverSession) allowed(ref uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.denied, ref)
}

// deniedNow lists the services that are denied.
func (c *serverSession) deniedNow() (all []ServiceStatus) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, st := range c.denied {
		st.Client = c.who.Name
		all = append(all, st)
	}
	return all
}
