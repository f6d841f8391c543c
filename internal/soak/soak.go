//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// options are the command's.
type options struct {
	lasting time.Duration
	seed    uint64
	users   int
	tlsMode string
	dir     string
	out     io.Writer
}

// occurrence is what one kind of fault did in a run.
type occurrence struct {
	name     string
	count    int
	slowest  time.Duration // until a user was served after it
	quickest time.Duration
}

// report is what a run shows.
type report struct {
	options
	verdict verdict
	faults  []*occurrence
	flat    []flatness
	lasted  time.Duration
}

// flatness is what one process used.
type flatness struct {
	program           string
	first, last, peak sample
	idle              sample // after the last user
	starts            int
	goroutines        int
}

// idleGoroutines bounds what a program without users may have.
const idleGoroutines = 64

// soak runs users and faults for a while and returns what is wrong.
func soak(ctx context.Context, o options) (r *report, wrongs []string, err error) {
	if err := build(o.dir); err != nil {
		return nil, nil, err
	}
	b := newBooks()
	var targets [2]*target
	var addresses [2]string
	for i := range targets {
		if targets[i], err = newTarget(counting{b, i == 1}.serve); err != nil {
			return nil, nil, err
		}
		defer targets[i].close()
		addresses[i] = targets[i].addr()
	}
	s, err := newSite(o.dir, o.dir, o.tlsMode, true, addresses)
	if err != nil {
		return nil, nil, err
	}
	defer s.close()
	s.books, s.targets = b, targets
	r = &report{options: o}
	random := rand.New(rand.NewPCG(o.seed, 0))
	if _, err := s.recovered(ctx, random); err != nil {
		return nil, nil, fmt.Errorf("the tunnel does not come up: %w", err)
	}
	s.books.forget() // those who came before it was up

	begun := time.Now()
	var users, others sync.WaitGroup
	over := make(chan struct{})
	for i := range o.users {
		users.Go(func() { s.comeAndGo(uint64(i+1), o.seed, over) }) // ends with over
	}
	measuring, stopMeasuring := context.WithCancel(ctx)
	defer stopMeasuring()
	others.Go(func() { s.sampling(measuring) }) // ends with measuring
	err = s.makeTrouble(ctx, r, random, begun.Add(o.lasting))
	close(over)
	users.Wait()
	r.lasted = time.Since(begun)
	stopMeasuring()
	others.Wait()
	if err == nil {
		err = s.err()
	}
	if err != nil {
		return r, nil, err
	}
	r.verdict = s.books.judge(s.weather)
	return r, append(r.verdict.wrongs, s.afterwards(ctx, r, begun)...), nil
}

// comeAndGo is one user after the other, in one's place.
func (s *site) comeAndGo(place, seed uint64, over <-chan struct{}) {
	random := rand.New(rand.NewPCG(seed, place))
	for n := uint64(1); ; n++ {
		t := time.NewTimer(pause(random))
		select {
		case <-over:
			t.Stop()
			return
		case <-t.C:
		}
		i := random.IntN(len(s.targets))
		p := newPlan(randomRequest(place<<32|n, random), i == 1, random)
		came := time.Now()
		s.books.outcome(p.request, came, p.visit(s.public[i]))
	}
}

// makeTrouble deals one fault after the other until the time is over. Processes
// are killed in the first half only: what the last ones use is measured in the
// second.
func (s *site) makeTrouble(ctx context.Context, r *report, random *rand.Rand, until time.Time) error {
	half := time.Now().Add(time.Until(until) / 2)
	known := make(map[string]*occurrence)
	for time.Now().Before(until) {
		for _, e := range shuffled(deck(), random) {
			if !sleep(ctx, between(random, 500*time.Millisecond, 2*time.Second)) {
				return context.Cause(ctx)
			}
			if time.Now().After(until) {
				return nil
			}
			if e.kills && time.Now().After(half) {
				continue
			}
			took, err := s.befall(ctx, e, random)
			if err != nil {
				return fmt.Errorf("%s: %w", e.name, err)
			}
			o := known[e.name]
			if o == nil {
				o = &occurrence{name: e.name, quickest: took}
				known[e.name] = o
				r.faults = append(r.faults, o)
			}
			o.count++
			o.slowest, o.quickest = max(o.slowest, took), min(o.quickest, took)
			fmt.Fprintf(r.out, "%7.3f s  %-24s next user served after %v\n", time.Since(s.books.begun).Seconds(), e.name, took.Round(time.Millisecond))
		}
	}
	return nil
}

// shuffled has those that kill among the first, since their time is half.
func shuffled(cards []event, random *rand.Rand) []event {
	random.Shuffle(len(cards), func(i, j int) { cards[i], cards[j] = cards[j], cards[i] })
	at := 1
	for i, e := range cards {
		if e.kills {
			cards = slices.Insert(slices.Delete(cards, i, i+1), min(at, i), e)
			at += 2
		}
	}
	return cards
}

// befall makes a fault happen and waits until users are served again.
func (s *site) befall(ctx context.Context, e event, random *rand.Rand) (time.Duration, error) {
	spell := s.weather.begin(e.name, e.may...)
	harmless := func() { s.weather.over(spell) }
	if err := e.run(ctx, s, random, harmless); err != nil {
		return 0, err
	}
	if !e.down {
		harmless()
	}
	took, err := s.recovered(ctx, random)
	harmless()
	return took, err
}

// afterwards looks at what is left when the users are gone, and whether memory
// was flat until then.
func (s *site) afterwards(ctx context.Context, r *report, begun time.Time) (wrongs []string) {
	wrongs = s.empty(ctx)
	half := begun.Add(r.lasting / 2)
	for _, p := range []*program{s.server, s.client} {
		f := flatness{program: p.label(), starts: p.starts}
		if measurable() {
			all := s.seriesOf(p)
			from := half
			if settled := p.running().started.Add(r.lasting / 10); settled.After(from) {
				from = settled
			}
			var grown []string
			f.first, f.last, grown = all.since(from).growth()
			wrongs = append(wrongs, grown...)
			f.peak = all.peak()
			var left string
			if f.idle, left = s.idle(ctx, p); left != "" {
				wrongs = append(wrongs, left)
			}
		}
		r.flat = append(r.flat, f)
	}
	for i, p := range []*program{s.server, s.client} {
		n, err := p.goroutines()
		if err != nil {
			wrongs = append(wrongs, err.Error())
		} else if r.flat[i].goroutines = n; n == 0 || n > idleGoroutines {
			wrongs = append(wrongs, fmt.Sprintf("%s: %d goroutines without users; %d are the limit", p.label(), n, idleGoroutines))
		}
		wrongs = append(wrongs, p.troubles()...)
	}
	return wrongs
}

// empty waits until the targets know that their users are gone.
func (s *site) empty(ctx context.Context) (wrongs []string) {
	for _, t := range s.targets {
		for limit := time.Now().Add(recovery); t.open() > 0; {
			if time.Now().After(limit) {
				wrongs = append(wrongs, fmt.Sprintf("%d connections to the target are left when all users are gone", t.open()))
				break
			}
			if !sleep(ctx, 10*time.Millisecond) {
				return append(wrongs, "interrupted")
			}
		}
	}
	return wrongs
}

// idle waits until a program without users has no more descriptors than its
// pool explains.
func (s *site) idle(ctx context.Context, p *program) (now sample, left string) {
	const most = poolMax + 32
	for limit := time.Now().Add(recovery); ; {
		now, err := measure(p.running().cmd.Process.Pid)
		switch {
		case err != nil:
			return now, err.Error()
		case now.files <= most:
			return now, ""
		case time.Now().After(limit):
			return now, fmt.Sprintf("%s: %d descriptors are open without users; %d are the limit", p.label(), now.files, most)
		case !sleep(ctx, 50*time.Millisecond):
			return now, "interrupted"
		}
	}
}
