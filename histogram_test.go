package pool

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHistogramBuckets(t *testing.T) {
	var r Recorder
	require.Zero(t, r.Histogram().Count())
	require.Zero(t, r.Histogram().Quantile(0.5))
	for _, d := range []time.Duration{0, 500 * time.Microsecond, 501 * time.Microsecond, 10 * time.Second, 11 * time.Second} {
		r.Observe(d)
	}
	h := r.Histogram()
	require.Len(t, h.Counts, len(h.Bounds)+1)
	require.Equal(t, uint64(2), h.Counts[0], "an upper bound belongs to its bucket")
	require.Equal(t, uint64(1), h.Counts[1])
	require.Equal(t, uint64(1), h.Counts[len(h.Bounds)-1])
	require.Equal(t, uint64(1), h.Counts[len(h.Bounds)])
	require.Equal(t, uint64(5), h.Count())
	require.Equal(t, 21*time.Second+1001*time.Microsecond, h.Sum)
}

func TestHistogramQuantile(t *testing.T) {
	var r Recorder
	for range 100 {
		r.Observe(40 * time.Millisecond) // in the bucket from 30 to 50 ms
	}
	h := r.Histogram()
	require.Equal(t, 30*time.Millisecond, h.Quantile(0))
	require.Equal(t, 40*time.Millisecond, h.Quantile(0.5))
	require.Equal(t, 50*time.Millisecond, h.Quantile(1))
	for range 100 {
		r.Observe(time.Minute)
	}
	h = r.Histogram()
	require.Equal(t, 50*time.Millisecond, h.Quantile(0.5))
	require.Equal(t, 10*time.Second, h.Quantile(0.99), "beyond the last bound that bound is all there is to say")
	require.Equal(t, h.Quantile(1), h.Quantile(7))
}

func TestHistogramArithmetic(t *testing.T) {
	var r Recorder
	r.Observe(time.Millisecond)
	before := r.Histogram()
	r.Observe(time.Second)
	after := r.Histogram()
	since := after.Since(before)
	require.Equal(t, uint64(1), since.Count())
	require.Equal(t, time.Second, since.Sum)
	require.Equal(t, uint64(2), after.Count(), "a snapshot does not change")
	require.Equal(t, after, before.Add(since))
	require.Equal(t, uint64(1), before.Count())
	require.Equal(t, after, Histogram{}.Add(after))
	require.Equal(t, after, after.Since(Histogram{}))
	require.Equal(t, before, before.Since(after), "what has been counted anew is no difference")
}
