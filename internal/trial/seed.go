package trial

import "time"

// The seed rule's marks and steps, as the README of NodePass's pool tells them.
const (
	seedLow          = 0.2
	seedHigh         = 0.8
	seedIntervalStep = 100 * time.Millisecond
	seedCapacityStep = 1
)

// seedStyle is what the README leaves open.
type seedStyle struct {
	// parallel: a pass dials all that is missing at once and waits for the
	// last of them. Otherwise it dials one after another.
	parallel bool
	// ofDials: the success ratio is that of the dials that the pass made, and
	// one that made none moves nothing. Otherwise it is how much of the
	// capacity the pass created.
	ofDials bool
}

// seed is the rule of NodePass's pool. A pass moves the interval by the share
// of connections that are idle, fills the pool up to the capacity, moves the
// capacity by the success of that, and sleeps for the interval. Nothing wakes
// it.
type seed struct {
	style    seedStyle
	minCap   int
	capacity int
	interval time.Duration

	// Of the pass under way:
	missing int // to be dialed yet
	pending int
	ended   int
	created int
}

func newSeed(style seedStyle) func(int, uint64) rule {
	return func(minCap int, _ uint64) rule {
		return &seed{style: style, minCap: minCap, capacity: minCap, interval: minInterval}
	}
}

func (r *seed) wake(w *world) {
	switch idle := float64(w.clientIdle) / float64(r.capacity); {
	case idle < seedLow:
		r.interval = max(r.interval-seedIntervalStep, minInterval)
	case idle > seedHigh:
		r.interval = min(r.interval+seedIntervalStep, maxInterval)
	}
	r.missing, r.ended, r.created = max(r.capacity-w.clientIdle, 0), 0, 0
	r.fill(w)
}

// fill begins what the pass may begin now, or ends the pass.
func (r *seed) fill(w *world) {
	for r.missing > 0 && (r.style.parallel || r.pending == 0) {
		r.missing--
		r.pending++
		w.dial()
	}
	if r.pending > 0 {
		return
	}
	switch success := r.success(); {
	case success < seedLow:
		r.capacity = max(r.capacity-seedCapacityStep, r.minCap)
	case success > seedHigh:
		r.capacity = min(r.capacity+seedCapacityStep, maxCap)
	}
	w.wakeAt(w.now + r.interval)
}

func (r *seed) success() float64 {
	switch {
	case !r.style.ofDials:
		return float64(r.created) / float64(r.capacity)
	case r.ended == 0:
		return (seedLow + seedHigh) / 2
	}
	return float64(r.created) / float64(r.ended)
}

func (r *seed) dialEnded(w *world, _ time.Duration, brought bool) {
	r.pending--
	r.ended++
	if brought {
		r.created++
	}
	r.fill(w)
}

func (*seed) took(*world)      {}
func (*seed) returned(*world)  {}
func (*seed) need(*world, int) {}
