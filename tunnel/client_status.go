package tunnel

// entriesLocked are the services, and after them the forwards.
func (c *Client) entriesLocked() []*entry {
	all := make([]*entry, 0, len(c.services)+len(c.forwards))
	for _, s := range c.services {
		all = append(all, &s.entry)
	}
	for _, f := range c.forwards {
		all = append(all, &f.entry)
	}
	return all
}

// setStatusLocked changes an entry's state on the word of a session, if that is
// the current one, and tells those who wait in Up. It reports whether anything
// changed.
func (c *Client) setStatusLocked(cs *clientSession, e *entry, up bool, addr, reason string) bool {
	s := &e.status
	if c.current != cs || s.Up == up && s.Addr == addr && s.Reason == reason {
		return false
	}
	s.Up, s.Addr, s.Reason = up, addr, reason
	c.announceLocked()
	return true
}

// setCurrent makes a session the current one, and returns the one before that is
// not over yet. Until the server answers no service is up, unless it has kept the
// ports of the former session open.
func (c *Client) setCurrent(cs *clientSession) (former *clientSession) {
	c.mu.Lock()
	defer c.mu.Unlock()
	former = c.current
	if former != nil && former.numbers == cs.numbers {
		c.current = cs
		c.announceLocked()
	} else {
		c.setCurrentLocked(cs, "waiting for the server's answer")
	}
	if !cs.cfg.sameSession(c.cfg.Load()) {
		cs.outdateLocked()
	}
	return former
}

// notConnected tells why there is no session, unless there is one that was to be
// replaced.
func (c *Client) notConnected(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil {
		c.setCurrentLocked(nil, reason)
	}
}

// sessionOver ends a session's time as the current one.
func (c *Client) sessionOver(cs *clientSession, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == cs {
		c.setCurrentLocked(nil, reason)
	}
}

func (c *Client) setCurrentLocked(cs *clientSession, reason string) {
	c.current = cs
	for _, e := range c.entriesLocked() {
		e.status.Up, e.status.Reason = false, reason
	}
	for _, s := range c.services {
		s.status.Addr = ""
	}
	c.announceLocked()
}

func (c *Client) announceLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}
