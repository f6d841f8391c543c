package pool

import (
	"slices"
	"sync/atomic"
	"time"
)

// histogramBounds are the upper bounds of the buckets of every [Histogram], so
// that they can be added up. They span what a user may notice: from a round trip
// in one building to the longest wait.
var histogramBounds = [...]time.Duration{
	500 * time.Microsecond, time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond, 5 * time.Millisecond,
	7500 * time.Microsecond, 10 * time.Millisecond, 15 * time.Millisecond, 20 * time.Millisecond, 30 * time.Millisecond,
	50 * time.Millisecond, 75 * time.Millisecond, 100 * time.Millisecond, 150 * time.Millisecond, 200 * time.Millisecond,
	300 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second,
}

// Histogram is a snapshot of counted durations. The zero value has none.
type Histogram struct {
	// Bounds are the upper bounds of the buckets, which belong to them, in
	// ascending order. They are the same in every histogram that is not empty,
	// and must not be changed.
	Bounds []time.Duration

	// Counts has one number per bucket, and one more for what is longer than the
	// last bound.
	Counts []uint64

	Sum time.Duration // of all that was counted
}

// Count is how many durations were counted.
func (h Histogram) Count() (n uint64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// Quantile estimates what a share of the durations, from 0 to 1, does not exceed:
// within the bucket where it lies durations count as evenly spread. What is longer
// than the last bound counts as that bound. 0 of an empty histogram.
func (h Histogram) Quantile(share float64) time.Duration {
	all := h.Count()
	if all == 0 {
		return 0
	}
	rank := min(max(share, 0), 1) * float64(all)
	var below float64
	for i, c := range h.Counts[:len(h.Bounds)] {
		if c == 0 || below+float64(c) < rank {
			below += float64(c)
			continue
		}
		var from time.Duration
		if i > 0 {
			from = h.Bounds[i-1]
		}
		return from + time.Duration((rank-below)/float64(c)*float64(h.Bounds[i]-from))
	}
	return h.Bounds[len(h.Bounds)-1]
}

// Add returns both histograms as one.
func (h Histogram) Add(other Histogram) Histogram {
	if len(h.Counts) == 0 {
		return other
	}
	h.Counts = slices.Clone(h.Counts)
	for i, c := range other.Counts {
		h.Counts[i] += c
	}
	h.Sum += other.Sum
	return h
}

// Since returns what was counted after an earlier snapshot of the same source.
// One that is not earlier counts as empty: its source was another.
func (h Histogram) Since(earlier Histogram) Histogram {
	for i, c := range earlier.Counts {
		if i >= len(h.Counts) || h.Counts[i] < c {
			return h
		}
	}
	h.Counts = slices.Clone(h.Counts)
	for i, c := range earlier.Counts {
		h.Counts[i] -= c
	}
	h.Sum -= earlier.Sum
	return h
}

// Recorder counts durations for a [Histogram]. The zero value is ready. It is safe
// for concurrent use, and costs two atomic additions per duration.
type Recorder struct {
	counts [len(histogramBounds) + 1]atomic.Uint64
	sum    atomic.Int64
}

// Observe counts a duration.
func (r *Recorder) Observe(d time.Duration) {
	i, _ := slices.BinarySearch(histogramBounds[:], d)
	r.counts[i].Add(1)
	r.sum.Add(int64(d))
}

// Histogram returns what was counted so far.
func (r *Recorder) Histogram() Histogram {
	h := Histogram{Bounds: histogramBounds[:], Counts: make([]uint64, len(r.counts)), Sum: time.Duration(r.sum.Load())}
	for i := range r.counts {
		h.Counts[i] = r.counts[i].Load()
	}
	return h
}
