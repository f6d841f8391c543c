package pool

import (
	"math"
	"time"
)

const (
	// firstRefill is the refill time until a dial has brought a connection.
	firstRefill = 100 * time.Millisecond

	// refillMargin is what else it takes: to learn of a taker, to begin a dial.
	refillMargin = 1.25

	decayGrain = 64
)

// meter follows how many connections are missing because of those who took
// them, on the assumption that each taken one is dialed for at once: one more
// with every taker, one less when a connection comes back, and a decay as
// dials replace the others. So with takers at an even rate it is their rate
// times the refill time, after a burst it is the burst, and where connections
// come back sooner than a dial would bring others it is next to nothing.
type meter struct {
	refill time.Duration // how long dials take, smoothed; 0 before the first
	level  float64
	at     time.Time // of level
	peak   float64   // highest level since the last reset
	owed   int       // takers that counted when they came to wait, and have yet to take
}

// dialed learns from a dial that brought a connection. The weight of 1/8 is
// that of RFC 6298 for round trips.
func (m *meter) dialed(lasted time.Duration) {
	if m.refill == 0 {
		m.refill = lasted
	}
	m.refill = max(m.refill+(lasted-m.refill)/8, 1)
}

// add moves the level by n. What decays in less than decayGrain of the refill
// time waits for more: a pool that is in great use is spared the computation.
func (m *meter) add(now time.Time, n float64) {
	refill := m.refill
	if refill == 0 {
		refill = firstRefill
	}
	if passed := now.Sub(m.at); passed > refill/decayGrain {
		m.level *= math.Exp(-float64(passed) / (refillMargin * float64(refill)))
		m.at = now
	}
	m.level = max(m.level+n, 0)
	m.peak = max(m.peak, m.level)
}

// took notes a taker, unless it counted when it came to wait.
func (m *meter) took(now time.Time) {
	if m.owed > 0 {
		m.owed--
		return
	}
	m.add(now, 1)
}

// waiting notes that n takers wait at the other end, where they come after
// every taker that was noted before: so all but those owed are new.
func (m *meter) waiting(now time.Time, n int) {
	m.add(now, float64(max(n-m.owed, 0)))
	m.owed = n
}

// reset begins a new look for the peak.
func (m *meter) reset(now time.Time) {
	m.add(now, 0)
	m.peak = m.level
}
