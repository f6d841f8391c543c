package tunnelmetrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/poolmetrics"
	"github.com/tunnelpool/pool/internal/status"
	"github.com/tunnelpool/pool/tunnel"
)

// pools are those of sessions: use is "services" or "forwards".
var pools = poolmetrics.New([]string{"client", "use"}, nil)

// Server collects from a tunnel-server.
type Server struct {
	Server  *tunnel.Server
	Version string
}

// Describe is a Collector's.
func (*Server) Describe(to chan<- *prometheus.Desc) { describe(to, both, serverOnly) }

// Collect is a Collector's.
func (s *Server) Collect(to chan<- prometheus.Metric) {
	st := s.Server.Stats()
	c := newCollection(to)
	c.one(buildInfo, 1, status.ServerProgram, s.Version)
	c.flag(ready, s.Server.Ready() == nil)
	c.gauge(sessions, st.Sessions)
	c.gauge(usersOpen, st.Open)
	c.gauge(usersWaiting, st.Waiting)
	c.counter(streams, st.Streams)
	c.counter(carried, st.Carried)
	c.counter(retries, st.Replays)
	c.counter(asked, st.Asked)
	c.counter(forwarded, st.Forwarded)
	c.counter(dropped, st.Dropped)
	c.counter(usersLost, st.Timeouts, "timeout")
	c.counter(usersLost, st.Overflow, "overflow")
	c.counter(usersLost, st.Elsewhere, "elsewhere")
	c.counter(usersLost, st.Headerless, "headerless")
	c.counter(usersLost, st.NoAck, "no-ack")
	c.gauge(handshakes, st.Door.InFlight)
	c.counter(accepted, st.Door.Accepted)
	for _, reason := range rejectReasons {
		c.counter(refused, st.Door.Rejected[reason], string(reason))
	}
	for _, one := range st.Clients {
		one.Pool.Misses = one.Pool.Waited + one.Carried // one of each user, who may look more than once
		c.session(one)
	}
	c.services("service", st.Services, true)
	c.services("forward", st.Forwards, false)
	c.send()
}

// rejectReasons are told from the start, so that a rate sees the first one.
var rejectReasons = []pool.RejectReason{
	pool.RejectAddress, pool.RejectCap, pool.RejectRate, pool.RejectTLS, pool.RejectProof, pool.RejectTimeout, pool.RejectClosed,
}

// Client collects from a tunnel-client.
type Client struct {
	Client  *tunnel.Client
	Version string
}

// Describe is a Collector's.
func (*Client) Describe(to chan<- *prometheus.Desc) { describe(to, both, clientOnly) }

// Collect is a Collector's.
func (cl *Client) Collect(to chan<- prometheus.Metric) {
	st := cl.Client.Stats()
	c := newCollection(to)
	c.one(buildInfo, 1, status.ClientProgram, cl.Version)
	c.flag(ready, cl.Client.Ready() == nil)
	c.flag(sessions, st.Connected)
	c.gauge(usersOpen, st.Open)
	c.counter(streams, st.Streams+st.Forwarded)
	c.counter(retries, st.Retries)
	c.counter(dropped, st.Dropped)
	c.counter(unreached, st.Refused)
	c.counter(unstarted, st.Unstarted)
	if st.Connected {
		c.session(tunnel.SessionStatus{
			Client: st.Name, RoundTrip: st.RoundTrip, Open: st.Open, Carriers: st.Carriers,
			Pool: st.Pool, Forwarding: st.Forwarding,
		})
	}
	c.services("service", st.Services, false)
	c.services("forward", st.Forwards, true)
	c.send()
}

func describe(to chan<- *prometheus.Desc, lists ...[]*prometheus.Desc) {
	for _, list := range lists {
		for _, d := range list {
			to <- d
		}
	}
	pools.Describe(to)
}

// collection sums up what has the same labels before it is sent: two clients may
// have one name, and a client several services of one.
type collection struct {
	to       chan<- prometheus.Metric
	clients  map[string]*tunnel.SessionStatus
	serviced map[[4]string]*serviceSum // at most maxListed
	unlisted int                       // services and forwards beyond them
}

// maxListed bounds the services and forwards that a scrape tells of. A client may
// have hundreds under names of its own choice, and there may be thousands of
// clients: a scrape of all would take minutes and gigabytes.
const maxListed = 8192

type serviceSum struct {
	tunnel.ServiceStatus
	usersHere bool
}

func newCollection(to chan<- prometheus.Metric) *collection {
	return &collection{to: to, clients: make(map[string]*tunnel.SessionStatus), serviced: make(map[[4]string]*serviceSum)}
}

func (c *collection) one(d *prometheus.Desc, v float64, labels ...string) {
	c.to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (c *collection) gauge(d *prometheus.Desc, v int, labels ...string) {
	c.one(d, float64(v), labels...)
}

func (c *collection) flag(d *prometheus.Desc, on bool, labels ...string) {
	v := 0
	if on {
		v = 1
	}
	c.gauge(d, v, labels...)
}

func (c *collection) counter(d *prometheus.Desc, v uint64, labels ...string) {
	c.to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (c *collection) session(s tunnel.SessionStatus) {
	name := label(s.Client)
	sum := c.clients[name]
	if sum == nil {
		c.clients[name] = &s
		return
	}
	sum.RoundTrip = max(sum.RoundTrip, s.RoundTrip)
	sum.Open += s.Open
	sum.Carriers += s.Carriers
	sum.Pool = sum.Pool.Add(s.Pool)
	sum.Forwarding = sum.Forwarding.Add(s.Forwarding)
}

func (c *collection) services(kind string, all []tunnel.ServiceStatus, usersHere bool) {
	for _, s := range all {
		network := "tcp"
		if s.UDP {
			network = "udp"
		}
		key := [4]string{label(s.Client), kind, label(s.Name), network}
		sum := c.serviced[key]
		switch {
		case sum == nil && len(c.serviced) >= maxListed:
			c.unlisted++
			continue
		case sum == nil:
			c.serviced[key] = &serviceSum{s, usersHere}
			continue
		}
		sum.Up = sum.Up && s.Up
		t := &sum.Traffic
		t.Open += s.Traffic.Open
		t.Streams += s.Traffic.Streams
		t.Retries += s.Traffic.Retries
		t.FromUsers += s.Traffic.FromUsers
		t.ToUsers += s.Traffic.ToUsers
		t.FirstByte = t.FirstByte.Add(s.Traffic.FirstByte)
	}
}

func (c *collection) send() {
	c.gauge(unlisted, c.unlisted)
	for name, s := range c.clients {
		c.one(roundTrip, s.RoundTrip.Seconds(), name)
		c.gauge(sessionOpen, s.Open, name)
		c.gauge(carriers, s.Carriers, name)
		pools.Collect(c.to, s.Pool, name, "services")
		if s.Forwarding.Capacity > 0 {
			pools.Collect(c.to, s.Forwarding, name, "forwards")
		}
	}
	for key, s := range c.serviced {
		labels, t := key[:], s.Traffic
		c.flag(serviceUp, s.Up, labels...)
		c.gauge(serviceOpen, t.Open, labels...)
		c.counter(serviceStreams, t.Streams, labels...)
		c.counter(serviceFromUsers, uint64(t.FromUsers), labels...)
		c.counter(serviceToUsers, uint64(t.ToUsers), labels...)
		if s.usersHere {
			c.counter(serviceRetries, t.Retries, labels...)
			c.to <- poolmetrics.Histogram(serviceFirst, t.FirstByte, labels...)
		}
	}
}

// label is a name as a label's value, which must be UTF-8.
func label(name string) string { return strings.ToValidUTF8(name, "\uFFFD") }
