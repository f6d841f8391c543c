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

// idle measures what pooled connections cost that wait for users.
func idle(s *session) error {
	counts := []int{1000, s.mostPooled()}
	if s.Quick {
		counts = counts[:1]
	}
	for _, c := range s.Contestants {
		if !c.pools {
			continue
		}
		base, _, err := s.pooled(c, 1)
		if err != nil {
			if errors.Is(err, proc.ErrUnknown) {
				s.Sheet.Note("Idle connections not measured: %v.", err)
				return nil
			}
			return err
		}
		for _, n := range counts {
			mem, cpu, err := s.pooled(c, n)
			if err != nil {
				return err
			}
			row := fmt.Sprintf("%d idle pooled connections, both ends, ", n)
			s.section.Row(row+"memory of each", report.Size, false).Set(c.Name, s.round, float64(mem.PSS-base.PSS)/float64(n-1))
			s.section.Row(row+"share of a processor", report.Share, false).Set(c.Name, s.round, cpu)
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

// pooled starts a tunnel that keeps n connections ready, and when they are
// there, measures.
func (s *session) pooled(c Contestant, n int) (mem proc.Memory, cpu float64, err error) {
	size := strconv.Itoa(n)
	r, err := c.rig(s.network, settings{
		server: []string{"--pool-max", size},
		client: []string{"--pool-min", size, "--pool-max", size},
	})
	if err != nil {
		return mem, 0, err
	}
	defer r.stop()
	for limit := time.Now().Add(fillTime); ; time.Sleep(50 * time.Millisecond) {
		open, err := r.tunnel[0].Descriptors()
		if err != nil {
			return mem, 0, err
		}
		if open >= n {
			break
		}
		if time.Now().After(limit) {
			return mem, 0, fmt.Errorf("%s: %d of %d pooled connections after %v", c.Name, open, n, fillTime)
		}
	}
	time.Sleep(rest)
	before, _ := r.cpu()
	begun := time.Now()
	time.Sleep(s.short(5 * time.Second))
	after, known := r.cpu()
	if !known {
		return mem, 0, proc.ErrUnknown
	}
	cpu = (after - before).Seconds() / time.Since(begun).Seconds()
	mem, err = r.memory()
	return mem, cpu, err
}
