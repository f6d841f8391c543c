package trial

import (
	"math"
	"slices"
	"time"
)

// plotPoints is how many points a plotted line has.
const plotPoints = 240

// books are what a world writes down. Time and dials count from 0 on, where the
// trace begins.
type books struct {
	takers, gaveUp int
	waits          []time.Duration // of those who had to wait, also of who still did at the end
	dials          int
	outageDials    int
	idleSeconds    float64

	made, returned, handedOut, closed int // of connections

	bin  time.Duration
	line []Point
}

// Point is what happened in one bin of a plot.
type Point struct {
	Takers  int     // who came
	Idle    float64 // connections, mean
	Waiting int     // takers, most at once
}

// Result is what a contestant did with a trace, per story.
type Result struct {
	Takers      float64
	Waited      float64       // takers that found no connection idle
	Wait99      time.Duration // what 99 of 100 takers did not wait longer than
	Idle        float64       // connections, mean over time
	Dials       float64
	OutageDials float64 // per minute of outage
	Line        []Point // of the first story
}

func (b *books) open(t *Trace) {
	b.bin = t.Length / plotPoints
	b.line = make([]Point, plotPoints)
}

func (b *books) point(at time.Duration) *Point {
	return &b.line[min(int(at/b.bin), plotPoints-1)]
}

// pass books a time in which nothing changed.
func (b *books) pass(from, to time.Duration, idle, waiting int) {
	for from = max(from, 0); from < to; {
		until := min(to, from-from%b.bin+b.bin)
		seconds := (until - from).Seconds()
		b.idleSeconds += float64(idle) * seconds
		p := b.point(from)
		p.Idle += float64(idle) * seconds / b.bin.Seconds()
		p.Waiting = max(p.Waiting, waiting)
		from = until
	}
}

func (b *books) came(now time.Duration) {
	b.takers++
	b.point(now).Takers++
}

func (b *books) waited(d time.Duration) { b.waits = append(b.waits, d) }

func (b *books) dialed(now time.Duration, outage bool) {
	if now < 0 {
		return
	}
	b.dials++
	if outage {
		b.outageDials++
	}
}

// add sums up the books of several stories.
func (b *books) add(o *books) {
	b.takers += o.takers
	b.gaveUp += o.gaveUp
	b.waits = append(b.waits, o.waits...)
	b.dials += o.dials
	b.outageDials += o.outageDials
	b.idleSeconds += o.idleSeconds
}

// result is the mean over the stories that were summed up.
func (b *books) result(t *Trace, stories int) Result {
	n := float64(stories)
	r := Result{
		Takers: float64(b.takers) / n,
		Waited: float64(len(b.waits)) / n,
		Wait99: b.percentile(0.99),
		Idle:   b.idleSeconds / t.Length.Seconds() / n,
		Dials:  float64(b.dials) / n,
		Line:   b.line,
	}
	if outage := t.outage.within(t.Length); outage > 0 {
		r.OutageDials = float64(b.outageDials) / outage.Minutes() / n
	}
	return r
}

// percentile is the wait that this share of all takers did not exceed; who did
// not wait counts with 0.
func (b *books) percentile(share float64) time.Duration {
	slices.Sort(b.waits)
	rank := int(math.Ceil(share * float64(b.takers))) // from 1, in order of waits
	i := rank - 1 - (b.takers - len(b.waits))
	if i < 0 {
		return 0
	}
	return b.waits[i]
}
