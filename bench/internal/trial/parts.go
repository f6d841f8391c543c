package trial

import (
	"fmt"
	"sync"
	"time"

	"github.com/tunnelpool/pool/bench/internal/report"
	"github.com/tunnelpool/pool/bench/internal/traffic"
)

// atOnce is the number of users that come at the same time where a part speaks
// of several.
const atOnce = 32

// firstByte measures from connect to the first byte back: users one after the
// other, and 300 users (100 over
// a long path) of whom 32 are there at once.
func firstByte(s *session) error {
	return s.rigs(func(all []*rig) error {
		if err := s.oneByOne(all); err != nil {
			return err
		}
		for _, r := range all {
			l := traffic.Load{Kind: traffic.Operations, Users: 300, Workers: atOnce}
			if s.network.roundTrip > middle {
				l.Users = 100
			}
			if err := s.one(r, l, s.firstBytes(fmt.Sprintf("%d at once", atOnce))); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *session) firstBytes(how string) func(*rig, result) {
	return func(r *rig, res result) {
		s.set("first byte, "+how+", p50", report.Duration, true, r, quantile(res, 0.5))
		s.set("first byte, "+how+", p99", report.Duration, true, r, quantile(res, 0.99))
	}
}

// oneByOne has a single user at a time. Over a link its contestants run side by
// side: each does nothing for most of the time but wait for the path.
func (s *session) oneByOne(all []*rig) error {
	users := 500
	switch {
	case s.network.roundTrip > middle:
		users = 10
	case s.network.roundTrip > 0:
		users = 100
	}
	if s.Quick {
		users /= 3
	}
	l := traffic.Load{Kind: traffic.Operations, Users: users, Workers: 1}
	record := s.firstBytes("one by one")
	if s.network.roundTrip == 0 {
		for _, r := range all {
			if err := s.one(r, l, record); err != nil {
				return err
			}
		}
		return nil
	}
	results, failures := make([]result, len(all)), make([]error, len(all))
	var loads sync.WaitGroup
	for i, r := range all {
		loads.Go(func() { results[i], failures[i] = r.run(l) }) // ends with the load
	}
	loads.Wait()
	for i, r := range all {
		if failures[i] != nil {
			return fmt.Errorf("%s: %w", r.name, failures[i])
		}
		s.complain(r, string(l.Kind), results[i])
		record(r, results[i])
	}
	return nil
}

// quiet is how long nobody comes before a burst.
const quiet = 5 * time.Second

func bursts(s *session) error {
	return s.rigs(func(all []*rig) error {
		for _, users := range []int{200, 1000} {
			if users == 200 && (s.Quick || s.network.roundTrip != middle) {
				continue
			}
			time.Sleep(quiet) // of all at the same time
			for _, r := range all {
				l := traffic.Load{Kind: traffic.Burst, Users: users}
				err := s.one(r, l, func(r *rig, res result) {
					row := fmt.Sprintf("burst of %d users, ", users)
					s.set(row+"all served after", report.Duration, true, r, res.Elapsed.Seconds())
					s.set(row+"not served", report.Count, false, r, float64(res.Failed))
				})
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func rates(s *session) error {
	l := traffic.Load{Kind: traffic.Rate, Workers: atOnce, Warmup: s.short(800 * time.Millisecond), Duration: s.short(1200 * time.Millisecond)}
	return s.each(l, func(r *rig, res result) {
		s.set(fmt.Sprintf("new connections, %d at once", atOnce), report.PerSecond, true, r, float64(res.Served)/res.Elapsed.Seconds())
		if res.cpuKnown && res.Served > 0 {
			s.set("processor time of the tunnel, per new connection", report.Duration, false, r, res.cpu.Seconds()/float64(res.Served))
		}
	})
}

func throughput(s *session, kind traffic.Kind) error {
	return s.rigs(func(all []*rig) error {
		for _, streams := range []int{1, 8} {
			for _, r := range all {
				l := traffic.Load{Kind: kind, Workers: streams, Warmup: 300 * time.Millisecond, Duration: s.short(900 * time.Millisecond)}
				if err := s.one(r, l, func(r *rig, res result) { s.setThroughput(kind, streams, r, res) }); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (s *session) setThroughput(kind traffic.Kind, streams int, r *rig, res result) {
	row := fmt.Sprintf("%s, %d streams", kind, streams)
	if streams == 1 {
		row = fmt.Sprintf("%s, 1 stream", kind)
	}
	s.set(row, report.Rate, true, r, float64(res.Bytes)/res.Elapsed.Seconds())
	if res.cpuKnown && res.Bytes > 0 {
		s.set(row+", processor time of the tunnel", report.PerGB, false, r, res.cpu.Seconds()/(float64(res.Bytes)/1e9))
	}
}

func echo(s *session) error {
	l := traffic.Load{Kind: traffic.Echo, Duration: s.short(500 * time.Millisecond)}
	return s.each(l, func(r *rig, res result) {
		s.set("echo on an open connection, p50", report.Duration, true, r, quantile(res, 0.5))
		s.set("echo on an open connection, p99", report.Duration, true, r, quantile(res, 0.99))
	})
}

// lossy is bulk over a path that loses packets.
func lossy(s *session) error {
	const share = 0.002
	if err := s.network.lose(share); err != nil {
		return err
	}
	defer s.network.lose(0)
	return s.rigs(func(all []*rig) error {
		for _, r := range all {
			l := traffic.Load{Kind: traffic.Download, Workers: 8, Warmup: s.short(time.Second), Duration: s.short(1500 * time.Millisecond)}
			err := s.one(r, l, func(r *rig, res result) {
				s.set("download, 8 streams, 0.2 % of packets lost", report.Rate, true, r, float64(res.Bytes)/res.Elapsed.Seconds())
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func quantile(res result, q float64) float64 {
	values := make([]float64, len(res.Latencies))
	for i, l := range res.Latencies {
		values[i] = l.Seconds()
	}
	return report.Quantile(values, q)
}
