package tunnel

import (
	"reflect"
	"slices"
)

// pair finds, for each that is wanted, the former one that it continues: by the
// first rule that holds. Nil: it is new.
func pair[E any, F any](former []*E, wanted []F, rules ...func(*E, *F) bool) []*E {
	all := make([]*E, len(wanted))
	for _, same := range rules {
		for i := range wanted {
			if all[i] != nil {
				continue
			}
			at := slices.IndexFunc(former, func(e *E) bool { return !slices.Contains(all, e) && same(e, &wanted[i]) })
			if at >= 0 {
				all[i] = former[at]
			}
		}
	}
	return all
}

// setServicesLocked has the services of cfg, those that go on included.
func (c *Client) setServicesLocked(cfg *ClientConfig) {
	former := c.services
	c.services = pair(former, cfg.Services, func(s *clientService, to *Service) bool {
		now := &s.target.Load().service
		return now.samePort(to) && now.Name == to.Name
	}, func(s *clientService, to *Service) bool {
		return to.Port != 0 && s.target.Load().service.samePort(to)
	})
	for i, s := range c.services {
		if s == nil {
			s = &clientService{}
			s.status.Reason = notConnectedYet
			c.services[i] = s
		}
		c.setServiceLocked(s, cfg, cfg.Services[i])
	}
	for _, s := range former {
		if !slices.Contains(c.services, s) {
			s.target.Load().unwatchLocked()
		}
	}
}

// samePort reports whether the server is asked for the same port, or the same
// choice of one.
func (s *Service) samePort(to *Service) bool {
	return s.Network == to.Network && s.Bind == to.Bind && s.Port == to.Port
}

// setServiceLocked changes what a service is, for its next users.
func (c *Client) setServiceLocked(s *clientService, cfg *ClientConfig, to Service) {
	s.status.Client, s.status.Name, s.status.Target, s.status.UDP = cfg.Name, to.Name, to.Target, to.isUDP()
	s.status.Group = to.Group
	former := s.target.Load()
	if former != nil && reflect.DeepEqual(former.service, to) {
		return
	}
	s.request = to.request(0) // the ref comes with the session
	t := c.newTarget(to, former)
	if former != nil && former.all == t.all {
		t.watch = former.watch
	} else {
		if former != nil {
			former.unwatchLocked()
		}
		if c.running != nil {
			c.watchTargetLocked(t)
		}
	}
	t.rate.set(to.Rate)
	s.target.Store(t)
}

// at reports whether a forward is at the address that is configured.
func (f *forward) at(to *Forward) bool {
	now := f.now.Load()
	return now.network() == to.network() && now.Listen == to.Listen
}

// setForwardsLocked has the forwards of cfg, of which some were opened for it. It
// returns those that are gone, whose addresses are to be closed.
func (c *Client) setForwardsLocked(cfg *ClientConfig, forwards, opened []*forward) (gone []*forward) {
	former := c.forwards
	c.forwards = forwards
	for i, f := range forwards {
		f.set(&cfg.Forwards[i])
		f.resize(cfg.MaxStreams)
		f.status.Client = cfg.Name
	}
	if c.running != nil {
		for _, f := range opened {
			c.serveForwardLocked(f)
		}
	}
	for _, f := range former {
		if !slices.Contains(forwards, f) {
			close(f.gone)
			gone = append(gone, f)
		}
	}
	return gone
}
