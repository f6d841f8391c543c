package session

import (
	"slices"
	"sync"
	"time"
)

const (
	// rttWindow is how many samples the estimate rests on: with the early ones
	// below two seconds of a session's start, later the last eight beats and
	// whatever Sign asked for.
	rttWindow = 8

	// variationFloor is the share of the round trip below which its variation
	// is not believed, as G is in RFC 6298 section 2: a path that was steady
	// through a few samples is not steady for ever.
	variationFloor = 8
)

// roundTrip estimates the path's round trip. RFC 6298 smooths samples by
// weight, so that a single one that met a busy processor or a full queue bends
// the estimate for many beats; at five seconds a beat that is most of a minute.
// Here the estimate is the median of the last samples, and the variation the
// median of how far they lie from it (the MAD of robust statistics): up to
// three bad samples of eight change neither, and a path that did change is
// followed when more than half of them tell.
type roundTrip struct {
	mu          sync.Mutex
	last        [rttWindow]time.Duration // a ring
	taken       int                      // samples ever
	median, dev time.Duration
}

func (r *roundTrip) sample(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last[r.taken%rttWindow] = max(d, time.Microsecond)
	r.taken++
	n := min(r.taken, rttWindow)
	sorted := r.last // a copy
	r.median = medianOf(sorted[:n])
	for i, s := range r.last[:n] {
		sorted[i] = (s - r.median).Abs()
	}
	r.dev = max(medianOf(sorted[:n]), r.median/variationFloor)
}

// medianOf sorts s. Of an even number it is the lower middle one: what delays
// a sample only ever adds to it.
func medianOf(s []time.Duration) time.Duration {
	slices.Sort(s)
	return s[(len(s)-1)/2]
}

func (r *roundTrip) get() (median, dev time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.median, r.dev
}
