package trial

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tunnelpool/pool/bench/internal/proc"
	"github.com/tunnelpool/pool/bench/internal/report"
	"github.com/tunnelpool/pool/bench/internal/traffic"
)

// rest is how long a tunnel is left alone before its memory is read.
const rest = 2 * time.Second

// memory measures both ends at rest, and what they take more when users are
// there who say nothing.
func memory(s *session) error {
	counts := []int{1000, 5000}
	if s.Quick {
		counts = counts[:1]
	}
	for _, c := range s.Contestants {
		for _, users := range counts {
			if err := s.memoryOf(c, users); err != nil {
				if errors.Is(err, proc.ErrUnknown) {
					s.Sheet.Note("Memory not measured: %v.", err)
					return nil
				}
				return err
			}
		}
	}
	return nil
}

func (s *session) memoryOf(c Contestant, users int) error {
	r, err := c.rig(s.network, settings{})
	if err != nil {
		return err
	}
	defer r.stop()
	if len(r.tunnel) == 0 {
		return nil
	}
	time.Sleep(rest)
	before, err := r.memory()
	if err != nil {
		return err
	}
	s.set("both processes at rest, RSS", report.Size, false, r, float64(before.RSS))
	s.set("both processes at rest, PSS", report.Size, false, r, float64(before.PSS))
	held, err := r.begin(traffic.Load{Kind: traffic.Hold, Users: users, Workers: atOnce})
	if err != nil {
		return err
	}
	defer held.stop()
	res, err := held.end()
	if err != nil {
		return err
	}
	s.complain(r, "memory", res)
	time.Sleep(rest)
	after, err := r.memory()
	if err != nil {
		return err
	}
	row := fmt.Sprintf("memory per open idle user of %d, both ends", users)
	s.set(row+", PSS", report.Size, false, r, float64(after.PSS-before.PSS)/float64(res.Served))
	return nil
}

// idle measures what pooled connections cost that wait for users, beyond what
// the same tunnel takes with a single one.
func idle(s *session) error {
	counts := []int{1000, s.mostPooled()}
	if s.Quick {
		counts = counts[:1]
	}
	base, err := s.pooled(1)
	if err != nil {
		if errors.Is(err, proc.ErrUnknown) {
			s.Sheet.Note("Idle connections not measured: %v.", err)
			return nil
		}
		return err
	}
	for _, n := range counts {
		costs, err := s.pooled(n)
		if err != nil {
			return err
		}
		for name, cost := range costs {
			row := fmt.Sprintf("%d idle pooled connections, both ends, ", n)
			s.section.Row(row+"memory of each, PSS", report.Size, false).Set(name, s.round, float64(cost.memory.PSS-base[name].memory.PSS)/float64(n-1))
			s.section.Row(row+"share of a processor", report.Share, false).Set(name, s.round, cost.cpu)
		}
	}
	return nil
}

// mostPooled is 10,000, or what a server accepts of pooled connections when the
// limit of open files is low: it keeps most for users.
func (s *session) mostPooled() int {
	const wanted = 10_000
	limit := openFiles()
	if n := limit * 3 / 8 / 1000 * 1000; n < wanted {
		s.Sheet.Note("%d idle pooled connections were not measured: the limit of %d open files allows %d.", wanted, limit, n)
		return n
	}
	return wanted
}

// fillTime bounds the wait for a full pool.
const fillTime = time.Minute

// cost is what both ends of a tunnel take together.
type cost struct {
	memory proc.Memory
	cpu    float64 // share of a processor
}

// pooled starts the tunnels that have a pool, with n connections kept ready,
// and when they are there, measures all side by side: they do next to nothing.
func (s *session) pooled(n int) (costs map[string]cost, err error) {
	size := strconv.Itoa(n)
	full := settings{
		server: []string{"--pool-max", size},
		client: []string{"--pool-min", size, "--pool-max", size},
	}
	var rigs []*rig
	defer func() {
		for _, r := range rigs {
			r.stop()
		}
	}()
	for _, c := range s.Contestants {
		if !c.pools {
			continue
		}
		r, err := c.rig(s.network, full)
		if err != nil {
			return nil, err
		}
		rigs = append(rigs, r)
	}
	for _, r := range rigs {
		if err := r.filled(n); err != nil {
			return nil, err
		}
	}
	time.Sleep(rest)
	before := make([]time.Duration, len(rigs))
	for i, r := range rigs {
		before[i], _ = r.cpu()
	}
	begun := time.Now()
	time.Sleep(s.short(5 * time.Second))
	costs = make(map[string]cost)
	for i, r := range rigs {
		after, known := r.cpu()
		if !known {
			return nil, proc.ErrUnknown
		}
		c := cost{cpu: (after - before[i]).Seconds() / time.Since(begun).Seconds()}
		if c.memory, err = r.memory(); err != nil {
			return nil, err
		}
		costs[r.name] = c
	}
	return costs, nil
}

// filled waits until the server holds n connections.
func (r *rig) filled(n int) error {
	for limit := time.Now().Add(fillTime); ; time.Sleep(50 * time.Millisecond) {
		open, err := r.tunnel[0].Descriptors()
		if err != nil || open >= n {
			return err
		}
		if time.Now().After(limit) {
			return fmt.Errorf("%s: the server has %d connections %v after it was to have %d", r.name, open, fillTime, n)
		}
	}
}
