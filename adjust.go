package pool

import "time"

// The marks by which the controller judges a step, in percent.
const (
	idleLow     = 20 // fewer idle: takers are faster than dials
	idleHigh    = 80 // more idle: dials are faster than takers
	successLow  = 20 // fewer dials succeed: the other side cannot take so many
	successHigh = 80 // more dials succeed: growth costs the other side nothing
)

// The sizes of a step.
const (
	intervalSpeedup  = 2                // the interval is divided by this when idle is low
	intervalSlowdown = 4                // 1/4 is added to it when idle is high
	failureShrink    = 4                // 1/4 of the capacity is given up when dials fail
	demandGrowth     = 4                // 1/4 is added when idle is low but nobody waited
	quietShrink      = 16               // 1/16 is given back for every quietWindow
	quietWindow      = 10 * time.Second // of quiet without a break
)

// controller decides how many connections a client pool keeps ready and how
// often it looks. It is only the bounds: no lock, no clock, no I/O. The
// maintainer holds the state, measures, and calls step. The bounds satisfy
// 1 <= minCap <= maxCap and 0 < minInterval <= maxInterval.
type controller struct {
	minCap, maxCap           int
	minInterval, maxInterval time.Duration
}

// adjustment is the controller's state between two steps.
type adjustment struct {
	capacity int           // connections to keep ready
	interval time.Duration // until the maintainer looks again
	quiet    time.Duration // how long the pool has been over-provided; below quietWindow
}

// observation is what happened since the last step.
type observation struct {
	idle      int // connections idle now
	waited    int // takers that found none idle and had to wait
	taken     int // connections taken
	attempted int // dials that ended, well or badly
	succeeded int // of those, the ones that brought a connection
	elapsed   time.Duration
}

// initial is the state of a pool that has seen nothing yet: small, and
// attentive.
func (c controller) initial() adjustment {
	return adjustment{capacity: c.minCap, interval: c.minInterval}
}

// step returns the state that follows from a and o. Whatever the two hold, the
// result is within the bounds.
func (c controller) step(a adjustment, o observation) adjustment {
	a = c.clamp(a)
	next := a
	next.interval = c.nextInterval(a, o)
	next.quiet = 0

	switch {
	case o.failing():
		next.capacity -= max(a.capacity/failureShrink, 1)
	case o.healthy() && o.waited > 0:
		// People waited: double, and by no less than would have served them all.
		next.capacity = c.grow(a.capacity, max(a.capacity, o.waited))
	case o.healthy() && o.taken > 0 && below(o.idle, a.capacity, idleLow):
		next.capacity = c.grow(a.capacity, max(a.capacity/demandGrowth, 1))
	case o.quiet(a.capacity):
		next = c.decay(next, a.quiet, o.elapsed)
	}
	return c.clamp(next)
}

// lowWater is the number of idle connections below which a take wakes the
// maintainer at once, without waiting for the interval. It is at least 1.
func (c controller) lowWater(a adjustment) int {
	const parts = 100 / idleLow
	mark := a.capacity / parts
	if a.capacity%parts != 0 {
		mark++
	}
	return max(mark, 1)
}

func (c controller) nextInterval(a adjustment, o observation) time.Duration {
	switch {
	case below(o.idle, a.capacity, idleLow):
		return a.interval / intervalSpeedup
	case above(o.idle, a.capacity, idleHigh):
		// Bounded before it is added, so that no sum can overflow.
		return a.interval + min(max(a.interval/intervalSlowdown, 1), c.maxInterval-a.interval)
	}
	return a.interval
}

// grow adds by to capacity as far as the bounds allow; the sum cannot overflow.
func (c controller) grow(capacity, by int) int {
	return capacity + min(by, c.maxCap-capacity)
}

// decay adds elapsed to the quiet time and gives capacity back for every full
// window in it. The rest is kept for the next step.
func (c controller) decay(a adjustment, quiet, elapsed time.Duration) adjustment {
	windows := quiet/quietWindow + elapsed/quietWindow
	a.quiet = quiet%quietWindow + elapsed%quietWindow
	if a.quiet >= quietWindow {
		a.quiet -= quietWindow
		windows++
	}
	for ; windows > 0 && a.capacity > c.minCap; windows-- {
		a.capacity -= max(a.capacity/quietShrink, 1)
	}
	return a
}

func (c controller) clamp(a adjustment) adjustment {
	a.capacity = min(max(a.capacity, c.minCap), c.maxCap)
	a.interval = min(max(a.interval, c.minInterval), c.maxInterval)
	a.quiet = max(a.quiet, 0)
	return a
}

// failing reports whether hardly a dial succeeds.
func (o observation) failing() bool {
	return o.attempted > 0 && below(o.succeeded, o.attempted, successLow)
}

// healthy reports whether nothing speaks against growing. A step in which no
// dial ended says nothing about dials: on a long path a dial outlasts many
// steps, and the takers that waited in them count all the same.
func (o observation) healthy() bool {
	return o.attempted <= 0 || above(o.succeeded, o.attempted, successHigh)
}

// quiet reports whether nearly all connections were idle the whole step long.
// What is idle at its end does not show a burst that was refilled meanwhile,
// so all that was taken counts as if it had been out at one moment.
func (o observation) quiet(capacity int) bool {
	trough := max(o.idle, 0) - max(o.taken, 0)
	return o.waited <= 0 && o.elapsed > 0 && above(trough, capacity, idleHigh)
}

// below and above compare part/whole with percent. In floating point, exact up
// to 2^53/100, because in integers the products could overflow.
func below(part, whole, percent int) bool {
	return 100*float64(part) < float64(percent)*float64(whole)
}

func above(part, whole, percent int) bool {
	return 100*float64(part) > float64(percent)*float64(whole)
}
