package trial

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tunnelpool/pool/bench/internal/report"
	"github.com/tunnelpool/pool/bench/internal/traffic"
)

// Trial is a run of the bench.
type Trial struct {
	Contestants []Contestant
	Rounds      int
	Quick       bool // short measurements
	Parts       func(name string) bool
	RoundTrips  []time.Duration
	Progress    func(format string, args ...any)

	Sheet report.Sheet
}

// part is quantities that are measured together.
type part struct {
	Name, What string
	on         func(n *network) bool
	rounds     func(t *Trial, n *network) int
	run        func(s *session) error
}

func everywhere(*network) bool { return true }

func onLoopback(n *network) bool { return n.roundTrip == 0 }

func everyRound(t *Trial, _ *network) int { return t.Rounds }

// once is for what hardly varies and takes long.
func once(*Trial, *network) int { return 1 }

// onceFar is for what the path rules where it is long.
func onceFar(t *Trial, n *network) int {
	if n.roundTrip > middle {
		return 1
	}
	return t.Rounds
}

var parts = []part{
	{"first", "first byte of a new connection", everywhere, everyRound, firstByte},
	{"burst", "many users at once after 5 s idle", everywhere, onceFar, bursts},
	{"rate", "new connections per second", notFar, everyRound, rates},
	{"bulk", "throughput to the users", onLoopback, everyRound, func(s *session) error { return throughput(s, traffic.Download) }},
	{"upload", "throughput from the users", onLoopback, everyRound, func(s *session) error { return throughput(s, traffic.Upload) }},
	{"echo", "round trip on an open connection", onLoopback, everyRound, echo},
	{"memory", "memory at rest and per open connection", onLoopback, once, memory},
	{"idle", "cost of idle pooled connections", onLoopback, once, idle},
	{"loss", "throughput with 0.2 % loss", onlyMiddle, everyRound, lossy},
}

// Part is a part's name and what it measures.
type Part struct{ Name, What string }

// Parts lists what can be measured.
func Parts() (all []Part) {
	for _, p := range parts {
		all = append(all, Part{p.Name, p.What})
	}
	return all
}

// The round trip at which all is measured; beyond it, what says something new.
const middle = 40 * time.Millisecond

func notFar(n *network) bool { return n.roundTrip <= middle }

func onlyMiddle(n *network) bool { return n.roundTrip == middle }

// Run measures and fills the sheet. What cannot be measured here becomes a
// note.
func (t *Trial) Run() {
	for _, c := range t.Contestants {
		t.Sheet.Columns = append(t.Sheet.Columns, c.Name)
	}
	for _, rtt := range t.RoundTrips {
		n, err := open(rtt)
		if err != nil {
			t.Sheet.Note("Round trip of %v not measured: %v.", rtt, err)
			continue
		}
		t.measure(n)
		n.close()
	}
}

func open(rtt time.Duration) (*network, error) {
	if rtt == 0 {
		return loopback()
	}
	return link(rtt)
}

// measure goes through the parts. What fails becomes a note, and the rest is
// measured all the same.
func (t *Trial) measure(n *network) {
	for _, p := range parts {
		if !t.Parts(p.Name) || !p.on(n) {
			continue
		}
		for round := range p.rounds(t, n) {
			t.Progress("%s: %s, round %d of %d", n.title, p.What, round+1, p.rounds(t, n))
			s := &session{Trial: t, network: n, section: t.Sheet.Section(n.title), round: round}
			if err := p.run(s); err != nil {
				t.Sheet.Note("%s: %s, round %d: %v", n.title, p.Name, round+1, err)
			}
		}
	}
}

// session is one part in one round.
type session struct {
	*Trial
	network *network
	section *report.Section
	round   int
}

// settle is for connections that are dialed after a start, and for what a
// start leaves to do.
const settle = time.Second

// rigs starts all contestants, each with processes of its own, and calls f when
// they have settled. In every round another one comes first.
func (s *session) rigs(f func(all []*rig) error) error {
	all, failures := make([]*rig, len(s.Contestants)), make([]error, len(s.Contestants))
	defer func() {
		for _, r := range all {
			if r != nil {
				r.stop()
			}
		}
	}()
	var starts sync.WaitGroup
	for i := range all {
		c := s.Contestants[(i+s.round)%len(all)]
		starts.Go(func() { all[i], failures[i] = c.rig(s.network, settings{}) }) // ends when it is up, or is not in time
	}
	starts.Wait()
	if err := errors.Join(failures...); err != nil {
		return err
	}
	time.Sleep(settle)
	return f(all)
}

// each measures the contestants one after the other.
func (s *session) each(l traffic.Load, record func(r *rig, res result)) error {
	return s.rigs(func(all []*rig) error {
		for _, r := range all {
			if err := s.one(r, l, record); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *session) one(r *rig, l traffic.Load, record func(r *rig, res result)) error {
	res, err := r.run(l)
	if err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	s.complain(r, string(l.Kind), res)
	record(r, res)
	return nil
}

// complain notes users that were not served.
func (s *session) complain(r *rig, what string, res result) {
	if res.Failed > 0 {
		s.Sheet.Note("%s, %s: %s, round %d: %d not served (%s)", s.network.title, what, r.name, s.round+1, res.Failed, res.Failure)
	}
}

func (s *session) set(row string, unit report.Unit, against bool, r *rig, value float64) {
	s.section.Row(row, unit, against).Set(r.name, s.round, value)
}

// short is d, or less of it in a quick run.
func (s *session) short(d time.Duration) time.Duration {
	if s.Quick {
		return d / 3
	}
	return d
}
