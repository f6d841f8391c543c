package tunnel

import (
	"errors"
	"fmt"
	"time"

	pool "github.com/tunnelpool/pool"
)

// ClientStats are a client's state and its counters since it was made.
type ClientStats struct {
	Name        string       // the client's own
	Server      string       // HOST:PORT as configured
	TLS         pool.TLSMode // likewise
	Connected   bool
	Addr        string          // the server's, of the current session
	Since       time.Time       // the current session began
	RoundTrip   time.Duration   // median of the control connection's last few; 0 when not known
	Services    []ServiceStatus // in the order of the configuration
	Streams     uint64          // users served, those being served included
	Open        int             // users being served, those of forwards included
	Refused     uint64          // users whose target could not be reached, or was not dialed for want of room
	Unstarted   uint64          // users announced whose stream did not begin
	Forwards    []ServiceStatus // likewise; Addr is where users connect, at this end
	Forwarded   uint64          // streams of forwards opened, those of users offered again included
	FromUsers   int64           // bytes users of forwards sent, counted when a user leaves
	ToUsers     int64           // bytes users of forwards received, likewise
	FromTargets int64           // bytes targets sent, likewise
	ToTargets   int64           // bytes targets received, likewise
	Dropped     uint64          // datagrams of UDP services that did not get on here
	Pool        pool.Stats      // of the current session
	Forwarding  pool.Stats      // likewise, of the connections for forwards; zero without
	Carriers    int             // connections that carry many users, of the current session
	Retries     uint64          // streams of forwards on a further connection, because one before was dead
	FirstByte   pool.Histogram  // of all forwards, see [Traffic]
}

// Services returns the state of each service, in the configuration's order.
func (c *Client) Services() []ServiceStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]ServiceStatus, 0, len(c.services))
	for _, s := range c.services {
		st := s.status
		st.Traffic = s.target.Load().traffic.now()
		all = append(all, st)
	}
	return all
}

// Forwards returns the state of each forward, in the configuration's order.
func (c *Client) Forwards() []ServiceStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]ServiceStatus, 0, len(c.forwards))
	for _, f := range c.forwards {
		st := f.status
		st.Traffic = f.traffic.now()
		st.Traffic.Open = int(max(f.open.Load(), 0))
		all = append(all, st)
	}
	return all
}

// Stats returns the client's state and counters.
func (c *Client) Stats() ClientStats {
	cfg := c.cfg.Load()
	st := ClientStats{
		Name: cfg.Name, Server: cfg.Server, TLS: cfg.TLS,
		Services: c.Services(), Forwards: c.Forwards(), Forwarded: c.count.forwarded.Load(),
		FromUsers: c.count.fromUsers.Load(), ToUsers: c.count.toUsers.Load(), Streams: c.count.streams.Load(), Open: c.active.count(),
		Refused: c.count.refused.Load(), Unstarted: c.count.unstarted.Load(),
		FromTargets: c.count.sent.Load(), ToTargets: c.count.received.Load(),
		Dropped: c.count.dropped.Load(), Retries: c.count.retried.Load(), FirstByte: c.count.firstByte.Histogram(),
	}
	c.mu.Lock()
	current := c.current
	c.mu.Unlock()
	if current != nil {
		st.Connected = true
		st.Addr, st.Since = current.remote.String(), current.since
		st.RoundTrip, _ = current.link.RTT()
		st.Pool, st.Carriers = current.pool.Stats(), current.carriers.count()
		if current.forwarding != nil {
			st.Forwarding = current.forwarding.Stats()
		}
	}
	return st
}

// Ready reports why not everything is up, or nil if it is: a session with the
// server, and every service and forward.
func (c *Client) Ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping || c.streams.Err() != nil {
		return errors.New("the client is stopping")
	}
	return c.missingLocked()
}

// missingLocked names a service or forward that is not up, and why.
func (c *Client) missingLocked() error {
	for _, e := range c.entriesLocked() {
		if s := &e.status; !s.Up {
			return fmt.Errorf("%q is not up: %s", s.Name, s.Reason)
		}
	}
	return nil
}
