//go:build unix

package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/tunnelpool/pool/internal/faults"
)

const (
	// every is the range of a fault that befalls all connections there are and
	// will be.
	every = math.MaxInt

	// aftermath is how long after a fault some may still come to harm: those who
	// are handed over before its news are everywhere.
	aftermath = 500 * time.Millisecond

	// recovery bounds the time from a fault's end to the next user served.
	recovery = 20 * time.Second
)

// event is one kind of fault.
type event struct {
	name  string
	kills bool // ends a process, whose memory is a new one's afterwards
	down  bool // users may come to harm until one is served again
	// may is what it may do to users who are there at some time from its
	// beginning until it does no more harm.
	may []failure
	// run makes it happen. It calls harmless when it does no more harm, at its
	// own end if not before.
	run func(ctx context.Context, s *site, random *rand.Rand, harmless func()) error
}

// deck is every fault once; the milder ones more often.
func deck() []event {
	return []event{
		{name: "stall", run: stall}, {name: "stall", run: stall}, {name: "stall", run: stall},
		{name: "cut", may: []failure{reset}, run: cutAll},
		{name: "cut of some", may: []failure{reset}, run: cutSome},
		{name: "hang-up", may: []failure{reset}, run: hangUp},
		{name: "silent death", may: []failure{reset}, run: mute},
		{name: "loss in one direction", may: []failure{reset}, run: muteOneWay},
		{name: "client stopped a moment", run: freezeClient}, {name: "server stopped a moment", run: freezeServer},
		{name: "client killed", kills: true, may: []failure{reset}, run: killClient},
		{name: "server killed", kills: true, down: true, may: []failure{reset, refused}, run: killServer},
	}
}

// between is a random duration.
func between(random *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(random.Int64N(int64(most-least)))
}

// sleep reports whether d passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// stall holds everything up, also for longer than that.
func stall(ctx context.Context, s *site, random *rand.Rand, _ func()) error {
	s.link.Stall(0, every)
	sleep(ctx, between(random, 200*time.Millisecond, 5*heartbeat))
	s.link.Stall(0, 0)
	return nil
}

func cutAll(ctx context.Context, s *site, _ *rand.Rand, _ func()) error {
	s.link.Cut(0, every)
	sleep(ctx, aftermath)
	return nil
}

// cutSome cuts the older half, control with it, or the younger.
func cutSome(ctx context.Context, s *site, random *rand.Rand, _ func()) error {
	half := s.link.Carried() - poolMin/2
	if random.IntN(2) == 0 {
		s.link.Cut(0, half)
	} else {
		s.link.Cut(half, every)
	}
	sleep(ctx, aftermath)
	return nil
}

func hangUp(ctx context.Context, s *site, _ *rand.Rand, _ func()) error {
	s.link.HangUp(0, every)
	sleep(ctx, aftermath)
	return nil
}

// mute kills all connections there are without a word. Those who are served on
// them hang until the path tells, as a middlebox does in the end.
func mute(ctx context.Context, s *site, _ *rand.Rand, _ func()) error {
	old := s.link.Carried()
	s.link.Mute(0, old)
	sleep(ctx, 5*heartbeat)
	s.link.Cut(0, old)
	s.link.Mute(0, 0)
	sleep(ctx, aftermath)
	return nil
}

func muteOneWay(ctx context.Context, s *site, random *rand.Rand, _ func()) error {
	old := s.link.Carried()
	s.link.MuteOneWay([]faults.Way{faults.ToTarget, faults.FromTarget}[random.IntN(2)], 0, old)
	sleep(ctx, 5*heartbeat)
	s.link.Cut(0, old)
	s.link.Mute(0, 0)
	sleep(ctx, aftermath)
	return nil
}

func freezeClient(ctx context.Context, s *site, random *rand.Rand, _ func()) error {
	return freeze(ctx, s.client, random)
}

func freezeServer(ctx context.Context, s *site, random *rand.Rand, _ func()) error {
	return freeze(ctx, s.server, random)
}

// freeze stops a process, also for longer than the other takes it for alive.
func freeze(ctx context.Context, p *program, random *rand.Rand) error {
	p.signal(syscall.SIGSTOP)
	sleep(ctx, between(random, 200*time.Millisecond, 5*heartbeat))
	p.signal(syscall.SIGCONT)
	return nil
}

// killClient cuts those whom the client serves. Who comes while it is away is
// held until it is back.
func killClient(ctx context.Context, s *site, random *rand.Rand, harmless func()) error {
	s.client.end(syscall.SIGKILL)
	sleep(ctx, aftermath)
	harmless()
	sleep(ctx, between(random, 1, time.Second))
	return s.start(s.client)
}

// killServer refuses users until the client is back.
func killServer(ctx context.Context, s *site, random *rand.Rand, _ func()) error {
	s.server.end(syscall.SIGKILL)
	sleep(ctx, between(random, 1, time.Second))
	return s.start(s.server)
}

// recovered has users come one after the other until one is served, and
// returns how long that took.
func (s *site) recovered(ctx context.Context, random *rand.Rand) (time.Duration, error) {
	for begun := time.Now(); ; {
		i := random.IntN(len(s.targets))
		p := newPlan(request{number: s.probe.Add(1) | probes, manner: asks, up: 100, down: 100}, i == 1, random)
		came := time.Now()
		err := p.visit(s.public[i])
		s.books.outcome(p.request, came, err)
		switch {
		case err == nil:
			return time.Since(begun), nil
		case s.err() != nil:
			return 0, s.err()
		case time.Since(begun) > recovery:
			return 0, fmt.Errorf("nobody was served within %v: %w", recovery, err)
		case !sleep(ctx, 5*time.Millisecond):
			return 0, context.Cause(ctx)
		}
	}
}
