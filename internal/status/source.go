package status

import (
	"log/slog"
	"math"
	"strings"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/tunnel"
)

// Source tells how a program does. Its methods are safe for concurrent use.
type Source interface {
	Report() Report
	Ready() error              // nil, or why not
	FirstByte() pool.Histogram // of all users so far
}

// About is what a report tells beside the counters.
type About struct {
	Version string
	Started time.Time
	TLS     string
	Events  func() []pool.Event // recent ones, newest last; may be nil
}

// NewAbout describes a program that starts now. Its logger has the events, if it
// keeps them.
func NewAbout(version, tlsMode string, log pool.Logger) About {
	a := About{Version: version, Started: time.Now(), TLS: tlsMode}
	if l, ok := log.(interface{ Recent() []pool.Event }); ok {
		a.Events = l.Recent
	}
	return a
}

// maxEvents bounds those of a report.
const maxEvents = 100

// begin fills what both programs have in common.
func (a *About) begin(program string, ready error) Report {
	now := time.Now()
	r := Report{
		Program: program, Version: a.Version, Started: a.Started, Now: now, Uptime: now.Sub(a.Started).Seconds(),
		Ready: ready == nil, TLS: a.TLS,
		Sessions: []Session{}, Services: []Service{}, Forwards: []Service{}, Events: []Event{},
	}
	if ready != nil {
		r.Reason = ready.Error()
	}
	if a.Events != nil {
		all := a.Events()
		for _, e := range all[max(0, len(all)-maxEvents):] {
			r.Events = append(r.Events, eventOf(e))
		}
	}
	return r
}

func eventOf(e pool.Event) Event {
	attrs := make(map[string]any, len(e.Attrs))
	for _, a := range e.Attrs {
		attrs[a.Key] = valueOf(a.Value)
	}
	return Event{Time: e.Time, Level: strings.ToLower(e.Level.String()), Event: e.Name, Text: e.Text, Attrs: attrs}
}

// valueOf is what JSON can hold of an attribute.
func valueOf(v slog.Value) any {
	switch v = v.Resolve(); v.Kind() {
	case slog.KindBool, slog.KindInt64, slog.KindUint64, slog.KindTime:
		return v.Any()
	case slog.KindFloat64:
		if f := v.Float64(); !math.IsInf(f, 0) && !math.IsNaN(f) {
			return f
		}
	case slog.KindDuration:
		return v.Duration().Seconds()
	}
	return v.String()
}

// Server is the Source of a tunnel-server.
type Server struct {
	About
	Server *tunnel.Server
}

// Ready is as [tunnel.Server.Ready].
func (s *Server) Ready() error { return s.Server.Ready() }

// FirstByte is of all services.
func (s *Server) FirstByte() pool.Histogram { return s.Server.Stats().FirstByte }

// Report makes a new report.
func (s *Server) Report() Report {
	st := s.Server.Stats()
	r := s.begin(ServerProgram, s.Ready())
	r.Listen = s.Server.Addr().String()
	r.Users = Users{
		Open: st.Open, Waiting: st.Waiting, Streams: st.Streams, Carried: st.Carried,
		Timeouts: st.Timeouts, Overflow: st.Overflow, Replays: st.Replays, NoAck: st.NoAck,
	}
	r.Door = &Door{InFlight: st.Door.InFlight, Rejected: texts(st.Door.Rejected)}
	var sum pool.Stats
	for _, c := range st.Clients {
		c.Pool.Misses = c.Pool.Waited + c.Carried // one of each user, who may look more than once
		sum = sum.Add(c.Pool)
		r.Sessions = append(r.Sessions, Session{
			Client: c.Client, Address: c.Addr, Key: c.Key, Since: c.Since, RoundTrip: c.RoundTrip.Seconds(),
			Open: c.Open, Carriers: c.Carriers, Pool: poolOf(c.Pool), ForwardPool: maybePool(c.Forwarding),
		})
	}
	r.Pool = poolOf(sum)
	for _, sv := range st.Services {
		r.Services = append(r.Services, serviceOf(sv, true))
	}
	for _, f := range st.Forwards {
		r.Forwards = append(r.Forwards, serviceOf(f, false))
	}
	return r
}

// Client is the Source of a tunnel-client.
type Client struct {
	About
	Client *tunnel.Client
}

// Ready is as [tunnel.Client.Ready].
func (c *Client) Ready() error { return c.Client.Ready() }

// FirstByte is of all forwards.
func (c *Client) FirstByte() pool.Histogram { return c.Client.Stats().FirstByte }

// Report makes a new report.
func (c *Client) Report() Report {
	st := c.Client.Stats()
	r := c.begin(ClientProgram, c.Ready())
	r.Name, r.Server, r.TLS = st.Name, st.Server, string(st.TLS)
	r.Users = Users{Open: st.Open, Streams: st.Streams + st.Forwarded, Replays: st.Retries}
	r.Pool = poolOf(st.Pool)
	if st.Connected {
		r.Sessions = append(r.Sessions, Session{
			Client: st.Name, Address: st.Addr, Since: st.Since, RoundTrip: st.RoundTrip.Seconds(),
			Open: st.Open, Carriers: st.Carriers, Pool: r.Pool, ForwardPool: maybePool(st.Forwarding),
		})
	}
	for _, sv := range st.Services {
		r.Services = append(r.Services, serviceOf(sv, false))
	}
	for _, f := range st.Forwards {
		r.Forwards = append(r.Forwards, serviceOf(f, true))
	}
	return r
}

func serviceOf(s tunnel.ServiceStatus, usersHere bool) Service {
	t := s.Traffic
	out := Service{
		Client: s.Client, Name: s.Name, Network: "tcp", Address: s.Addr, Target: s.Target, Group: s.Group,
		Up: s.Up, Reason: s.Reason, Open: t.Open, Streams: t.Streams, Retries: t.Retries,
		FromUsers: t.FromUsers, ToUsers: t.ToUsers,
	}
	if s.UDP {
		out.Network = "udp"
	}
	if usersHere {
		out.FirstByte = latencyOf(t.FirstByte)
	}
	return out
}

func latencyOf(h pool.Histogram) *Latency {
	l := &Latency{Count: h.Count()}
	l.P50, l.P99 = quantiles(h)
	return l
}

// quantiles are nil of an empty histogram.
func quantiles(h pool.Histogram) (p50, p99 *float64) {
	if h.Count() == 0 {
		return nil, nil
	}
	half, most := h.Quantile(0.5).Seconds(), h.Quantile(0.99).Seconds()
	return &half, &most
}

func poolOf(s pool.Stats) Pool {
	return Pool{
		Idle: s.Idle, Out: s.Out, Waiting: s.Waiting, Capacity: s.Capacity, Interval: s.Interval.Seconds(),
		Hits: s.Hits, Misses: s.Misses, Timeouts: s.Timeouts, Created: s.Created,
		Dialing: s.Dialing, DialFailures: s.DialFailures, Closed: texts(s.Closed), Rejected: texts(s.Rejected),
	}
}

// maybePool is nil where there is no pool.
func maybePool(s pool.Stats) *Pool {
	if s.Capacity == 0 {
		return nil
	}
	p := poolOf(s)
	return &p
}

// texts has a map's keys as text; it is never nil.
func texts[K ~string](m map[K]uint64) map[string]uint64 {
	all := make(map[string]uint64, len(m))
	for k, n := range m {
		all[string(k)] = n
	}
	return all
}
