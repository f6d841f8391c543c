package trial

import (
	"math"
	"math/rand/v2"
	"time"
)

// Trace is a story of arrivals at one pool.
type Trace struct {
	Name, What string
	Length     time.Duration // from 0

	rate   func(t time.Duration) float64 // takers a second
	peak   float64                       // the rate is never higher
	outage cycle                         // when the server refuses every dial
}

// cycle is a part of every period: from included to until excluded.
type cycle struct{ from, until, period time.Duration }

func (c cycle) has(t time.Duration) bool {
	return c.period > 0 && c.from <= t%c.period && t%c.period < c.until
}

// within is how much of a time of that length, which is whole periods, it is.
func (c cycle) within(length time.Duration) time.Duration {
	if c.period == 0 {
		return 0
	}
	return length / c.period * (c.until - c.from)
}

// takers draws the arrivals: a Poisson process of the trace's rate, made by
// thinning one of its peak rate. scale multiplies both.
func (t *Trace) takers(seed uint64, scale float64) []time.Duration {
	random := rand.New(rand.NewPCG(seed, 0))
	var come []time.Duration
	for at := time.Duration(0); ; {
		at += time.Duration(random.ExpFloat64() / (scale * t.peak) * float64(time.Second))
		if at >= t.Length {
			return come
		}
		if random.Float64()*t.peak < t.rate(at) {
			come = append(come, at)
		}
	}
}

var traces = []Trace{{
	Name:   "steady",
	What:   "50 takers a second for 10 minutes",
	Length: 10 * time.Minute, peak: 50,
	rate: func(time.Duration) float64 { return 50 },
}, {
	Name:   "bursts",
	What:   "100 a second for 2 seconds, then 1 a second for 18, over and over for 10 minutes",
	Length: 10 * time.Minute, peak: 100,
	rate: func(t time.Duration) float64 {
		if (cycle{0, 2 * time.Second, 20 * time.Second}).has(t) {
			return 100
		}
		return 1
	},
}, {
	Name:   "ramp",
	What:   "from none to 200 a second in 10 minutes",
	Length: 10 * time.Minute, peak: 200,
	rate: func(t time.Duration) float64 { return t.Minutes() / 10 * 200 },
}, {
	Name:   "flash crowd",
	What:   "4 a second for 10 minutes, and 50 times as many in the third of them",
	Length: 10 * time.Minute, peak: 200,
	rate: func(t time.Duration) float64 {
		if (cycle{2 * time.Minute, 3 * time.Minute, 10 * time.Minute}).has(t) {
			return 200
		}
		return 4
	},
}, {
	Name:   "day",
	What:   "a day's curve, run through in an hour: 0.2 a second at night, 20 at noon",
	Length: time.Hour, peak: 20,
	rate: func(t time.Duration) float64 {
		sin := math.Sin(math.Pi * t.Hours())
		return 0.2 + 19.8*sin*sin
	},
}, {
	Name:   "failing server",
	What:   "5 a second for an hour; in the sixth of every 10 minutes the server refuses every dial",
	Length: time.Hour, peak: 5,
	rate:   func(time.Duration) float64 { return 5 },
	outage: cycle{5 * time.Minute, 6 * time.Minute, 10 * time.Minute},
}}
