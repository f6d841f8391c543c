package pool

import (
	"math"
	"time"
)

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
	lowWaterMost     = 75               // the low-water mark is at most this share of the capacity, in percent
	waitGrowth       = 8                // 1/8 is added to what takers missed when they had to wait
	reserveHalfLife  = 60 * time.Second // half of the reserve is given back in this time
)

// controller decides how many connections a client pool keeps ready and how
// often it looks. It is only the bounds: no lock, no clock, no I/O. The planner
// holds the state, measures, and calls step. The bounds satisfy
// 0 <= minCap <= maxCap, 1 <= maxCap and 0 < minInterval <= maxInterval.
type controller struct {
	minCap, maxCap           int
	minInterval, maxInterval time.Duration
}

// adjustment is the controller's state between two steps.
type adjustment struct {
	capacity int           // connections to keep ready
	interval time.Duration // until the maintainer looks again
	reserve  float64       // what was missing at the worst moment of late; at most maxCap
}

// observation is what happened since the last step.
type observation struct {
	idle      int     // connections idle now
	waited    int     // takers that found none idle and had to wait
	missing   float64 // the meter's peak
	attempted int     // dials that ended, well or badly
	succeeded int     // of those, the ones that brought a connection
	elapsed   time.Duration
}

// initial is the state of a pool that has seen nothing yet: small, and
// attentive.
func (c controller) initial() adjustment {
	return adjustment{capacity: c.minCap, interval: c.minInterval}
}

// step returns the state that follows from a and o. The reserve rises at once
// and falls slowly, and the capacity is the reserve within the bounds. Whatever
// a and o hold, the result is within the bounds.
func (c controller) step(a adjustment, o observation) adjustment {
	a = c.clamp(a)
	halfLives := max(o.elapsed.Seconds(), 0) / reserveHalfLife.Seconds()
	next := adjustment{interval: c.nextInterval(a, o), reserve: a.reserve * math.Exp2(-halfLives)}
	switch {
	case o.failing():
		next.reserve = min(next.reserve, float64(a.capacity-max(a.capacity/failureShrink, 1)))
	case o.healthy():
		if o.missing > next.reserve { // max would take what is not a number
			next.reserve = o.missing
		}
		if o.waited > 0 {
			next.reserve = max(next.reserve, float64(a.capacity))
			next.reserve += next.reserve / waitGrowth
		}
	}
	next.capacity = ceil(next.reserve, c.maxCap)
	return c.clamp(next)
}

// lowWater is the number of idle connections below which a take wakes the
// maintainer at once, without waiting for the interval: a share of the
// capacity, and the reserve as far as that leaves some of the capacity for
// connections that are out for a moment. It is at least 1.
func (c controller) lowWater(a adjustment) int {
	const parts = 100 / idleLow
	mark := a.capacity / parts
	if a.capacity%parts != 0 {
		mark++
	}
	return max(mark, ceil(a.reserve, a.capacity*lowWaterMost/100), 1)
}

func (c controller) nextInterval(a adjustment, o observation) time.Duration {
	switch {
	case below(o.idle, a.capacity, idleLow):
		return a.interval / intervalSpeedup
	case a.capacity == 0 || above(o.idle, a.capacity, idleHigh):
		// Bounded before it is added, so that no sum can overflow.
		return a.interval + min(max(a.interval/intervalSlowdown, 1), c.maxInterval-a.interval)
	}
	return a.interval
}

func (c controller) clamp(a adjustment) adjustment {
	a.capacity = min(max(a.capacity, c.minCap), c.maxCap)
	a.interval = min(max(a.interval, c.minInterval), c.maxInterval)
	if !(a.reserve >= 0) { // also what is not a number
		a.reserve = 0
	}
	a.reserve = min(a.reserve, float64(c.maxCap))
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

// below and above compare part/whole with percent. In floating point, exact up
// to 2^53/100, because in integers the products could overflow.
func below(part, whole, percent int) bool {
	return 100*float64(part) < float64(percent)*float64(whole)
}

func above(part, whole, percent int) bool {
	return 100*float64(part) > float64(percent)*float64(whole)
}

// ceil rounds x up, to no more than limit.
func ceil(x float64, limit int) int {
	if x >= float64(limit) {
		return limit
	}
	return int(math.Ceil(x))
}
