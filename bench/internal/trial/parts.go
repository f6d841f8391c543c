package trial

import (
	"fmt"
	"time"

	"github.com/tunnelpool/pool/bench/internal/report"
	"github.com/tunnelpool/pool/bench/internal/traffic"
)

// atOnce is the number of users that come at the same time where a part speaks
// of several.
const atOnce = 32

// firstByte measures from connect to the first byte back, one user after the
// other, and 300 users of whom 32 are there at once.
func firstByte(s *session) error {
	users := 500
	if s.network.roundTrip > 0 {
		users = 60 // each takes a round trip
	}
	if s.Quick {
		users /= 3
	}
	return s.rigs(func(all []*rig) error {
		for _, r := range all {
			for _, l := range []traffic.Load{
				{Kind: traffic.Operations, Users: users, Workers: 1},
				{Kind: traffic.Operations, Users: 300, Workers: atOnce},
			} {
				how := "one by one"
				if l.Workers > 1 {
					how = fmt.Sprintf("%d at once", l.Workers)
				}
				err := s.one(r, l, func(r *rig, res result) {
					s.set("first byte, "+how+", p50", report.Duration, true, r, quantile(res, 0.5))
					s.set("first byte, "+how+", p99", report.Duration, true, r, quantile(res, 0.99))
				})
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// quiet is how long nobody comes before a burst.
const quiet = 5 * time.Second

func bursts(s *session) error {
	return s.rigs(func(all []*rig) error {
		for _, users := range []int{200, 1000} {
			if s.Quick && users == 200 {
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
	l := traffic.Load{Kind: traffic.Rate, Workers: atOnce, Warmup: s.short(time.Second), Duration: s.short(1500 * time.Millisecond)}
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
				l := traffic.Load{Kind: kind, Workers: streams, Warmup: 500 * time.Millisecond, Duration: s.short(1500 * time.Millisecond)}
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
	l := traffic.Load{Kind: traffic.Echo, Duration: s.short(time.Second)}
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
			l := traffic.Load{Kind: traffic.Download, Workers: 8, Warmup: s.short(1500 * time.Millisecond), Duration: s.short(3 * time.Second)}
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
