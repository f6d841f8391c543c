package status

import (
	"context"
	"slices"
	"sync"
	"time"

	pool "github.com/tunnelpool/pool"
)

const (
	sampleEvery = time.Second
	keptSamples = 300

	// maxSampled bounds the services in a sample: the busiest.
	maxSampled = 64
)

// History is the JSON of /api/v1/history.
type History struct {
	Interval float64  `json:"interval_seconds"`
	Samples  []Sample `json:"samples"` // oldest first
}

// Sample is one second. Quantiles are of users who got their first byte in it.
type Sample struct {
	Time         time.Time               `json:"time"`
	Idle         int                     `json:"idle"`
	Capacity     int                     `json:"capacity"`
	Waiting      int                     `json:"waiting"`
	Open         int                     `json:"open"`
	FirstByteP50 *float64                `json:"first_byte_p50_seconds,omitempty"`
	FirstByteP99 *float64                `json:"first_byte_p99_seconds,omitempty"`
	RoundTrip    float64                 `json:"round_trip_seconds,omitempty"` // the longest of all sessions
	Services     map[string]ServiceBytes `json:"services"`                     // by CLIENT/NAME, forwards too
}

// ServiceBytes is what passed for a service in a second.
type ServiceBytes struct {
	FromUsers int64 `json:"from_users"`
	ToUsers   int64 `json:"to_users"`
	Open      int   `json:"open"`
}

// Sampler keeps the history of a Source, as long as Run runs.
type Sampler struct {
	source Source

	mu      sync.Mutex
	samples []Sample

	// what follows is Run's own
	totals map[string]ServiceBytes
	first  pool.Histogram
}

// NewSampler makes a Sampler.
func NewSampler(source Source) *Sampler { return &Sampler{source: source} }

// Run takes a sample a second until ctx ends.
func (s *Sampler) Run(ctx context.Context) {
	s.totals, s.first = totalsOf(s.source.Report()), s.source.FirstByte()
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.add(s.sample())
		}
	}
}

func (s *Sampler) add(one Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.samples) == keptSamples {
		s.samples = slices.Delete(s.samples, 0, 1)
	}
	s.samples = append(s.samples, one)
}

// History returns what is kept of the time after since; the zero time is before all.
func (s *Sampler) History(since time.Time) History {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := len(s.samples)
	for first > 0 && s.samples[first-1].Time.After(since) {
		first--
	}
	return History{Interval: sampleEvery.Seconds(), Samples: append([]Sample{}, s.samples[first:]...)}
}

func (s *Sampler) sample() Sample {
	r, first := s.source.Report(), s.source.FirstByte()
	one := Sample{
		Time: r.Now, Idle: r.Pool.Idle, Capacity: r.Pool.Capacity, Waiting: max(r.Pool.Waiting, r.Users.Waiting), Open: r.Users.Open,
		Services: make(map[string]ServiceBytes),
	}
	one.FirstByteP50, one.FirstByteP99 = quantiles(first.Since(s.first))
	for _, c := range r.Sessions {
		one.RoundTrip = max(one.RoundTrip, c.RoundTrip)
	}
	totals := totalsOf(r)
	for name, now := range totals {
		one.Services[name] = now.since(s.totals[name])
	}
	one.trim()
	s.totals, s.first = totals, first
	return one
}

// totalsOf sums up by service: two clients may have one name.
func totalsOf(r Report) map[string]ServiceBytes {
	totals := make(map[string]ServiceBytes)
	for _, list := range [][]Service{r.Services, r.Forwards} {
		for _, sv := range list {
			name := sv.Client + "/" + sv.Name
			t := totals[name]
			totals[name] = ServiceBytes{t.FromUsers + sv.FromUsers, t.ToUsers + sv.ToUsers, t.Open + sv.Open}
		}
	}
	return totals
}

// since is what passed meanwhile. A service that was opened anew counts from 0.
func (b ServiceBytes) since(before ServiceBytes) ServiceBytes {
	if b.FromUsers < before.FromUsers || b.ToUsers < before.ToUsers {
		return b
	}
	return ServiceBytes{b.FromUsers - before.FromUsers, b.ToUsers - before.ToUsers, b.Open}
}

// trim leaves out the services that are least busy, beyond maxSampled.
func (s *Sample) trim() {
	if len(s.Services) <= maxSampled {
		return
	}
	names := make([]string, 0, len(s.Services))
	for name := range s.Services {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return s.Services[b].compare(s.Services[a]) })
	for _, name := range names[maxSampled:] {
		delete(s.Services, name)
	}
}

func (b ServiceBytes) compare(o ServiceBytes) int {
	if moved, other := b.FromUsers+b.ToUsers, o.FromUsers+o.ToUsers; moved != other {
		return int(max(min(moved-other, 1), -1))
	}
	return b.Open - o.Open
}
