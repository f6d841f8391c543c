// Package trial puts the rule by which a client pool dials on trial: the
// pool's own planner and the rule of NodePass's pool, in a simulation of
// discrete events, on the same stories of arrivals. Nothing sleeps, nothing is
// measured against a clock, and the same setup has the same result.
//
// The planner is the real one, [pool.Planner], which the pool's maintainer
// asks. What is simulated is the rest: takers, the network, and a pool's books.
package trial

import (
	"cmp"
	"runtime"
	"sync"
	"time"
)

// Setup is what a trial is about. Zero fields mean the stated defaults.
type Setup struct {
	RoundTrip time.Duration // default 40 ms
	Seeds     int           // stories told per trace; default 3
	FirstSeed uint64        // default 0
	Scale     float64       // multiplies all rates; default 1
	MinCaps   []int         // lower bounds of the capacity, each a trial of its own; default 8 and 32
}

func (s Setup) filled() Setup {
	s.RoundTrip = cmp.Or(s.RoundTrip, 40*time.Millisecond)
	s.Seeds = cmp.Or(s.Seeds, 3)
	s.Scale = cmp.Or(s.Scale, 1)
	if len(s.MinCaps) == 0 {
		s.MinCaps = []int{8, 32}
	}
	return s
}

// What all rules may choose between, apart from the lower bound.
const (
	maxCap      = 512
	minInterval = 100 * time.Millisecond
	maxInterval = time.Second
)

// contestant is a rule together with the use that is made of connections.
type contestant struct {
	name string
	make func(minCap int, seed uint64) rule
	// recycles: connections come back after use. Otherwise each serves one
	// taker, as in the seed's API.
	recycles bool
}

// The contestants, in the order of Report.Results.
const (
	oursConsumed = iota
	seedRule
	oursRecycled
	seedInTurn
	seedLiteral
)

var contestants = []contestant{
	oursConsumed: {name: "tunnelpool", make: newOurs},
	seedRule:     {name: "seed rule", make: newSeed(seedStyle{parallel: true})},
	oursRecycled: {name: "tunnelpool, recycled", make: newOurs, recycles: true},
	seedInTurn:   {name: "one dial after another", make: newSeed(seedStyle{})},
	seedLiteral:  {name: "success as a share of the dials", make: newSeed(seedStyle{parallel: true, ofDials: true})},
}

// Report is the outcome of a trial.
type Report struct {
	Setup  Setup
	Trials []Trial
}

// Trial is the outcome with one lower bound.
type Trial struct {
	MinCap  int
	Results [][]Result // by contestant, then by trace
}

// Run holds the trial, on all processors.
func Run(setup Setup) *Report {
	setup = setup.filled()
	r := &Report{Setup: setup}
	var all sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, minCap := range setup.MinCaps {
		trial := Trial{MinCap: minCap}
		for _, c := range contestants {
			results := make([]Result, len(traces))
			trial.Results = append(trial.Results, results)
			for i := range traces {
				slots <- struct{}{}
				all.Go(func() { // ends when every story is told
					results[i] = tell(setup, &traces[i], c, minCap)
					<-slots
				})
			}
		}
		r.Trials = append(r.Trials, trial)
	}
	all.Wait()
	return r
}

// tell tells every story of a trace to one contestant.
func tell(setup Setup, t *Trace, c contestant, minCap int) Result {
	var sum books
	for i := range uint64(setup.Seeds) {
		seed := setup.FirstSeed + i
		w := newWorld(t, setup, c.make(minCap, seed), seed)
		w.recycles = c.recycles
		w.run()
		if i == 0 {
			sum.line = w.books.line
		}
		sum.add(&w.books)
	}
	return sum.result(t, setup.Seeds)
}
