package pool

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBackoffHasFullJitter(t *testing.T) {
	jitter := defaultJitter(t)
	for failures, ceiling := range map[int]time.Duration{
		1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 5: 1600 * time.Millisecond,
		9: 25600 * time.Millisecond, 10: 30 * time.Second, 17: 30 * time.Second, 1 << 40: 30 * time.Second,
	} {
		low, high := ceiling, time.Duration(0)
		for range 1000 {
			b := backoff{failures: failures}
			pause := b.pause(false, jitter)
			low, high = min(low, pause), max(high, pause)
		}
		require.GreaterOrEqual(t, low, time.Millisecond)
		require.Less(t, low, ceiling/10)
		require.Less(t, high, ceiling)
		require.Greater(t, high, ceiling*9/10)
	}
}

// defaultJitter is the jitter of a planner that was given none.
func defaultJitter(t *testing.T) func(time.Duration) time.Duration {
	var cfg PlannerConfig
	require.NoError(t, cfg.fill())
	return cfg.Jitter
}

// TestBackoffOfAUsedPool: the pauses stay short, and close to their ceiling.
func TestBackoffOfAUsedPool(t *testing.T) {
	jitter := defaultJitter(t)
	for failures, ceiling := range map[int]time.Duration{
		1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 3: 400 * time.Millisecond,
		4: busyCeiling, 10: busyCeiling, 1 << 40: busyCeiling,
	} {
		for range 1000 {
			b := backoff{failures: failures}
			pause := b.pause(true, jitter)
			require.Greater(t, pause, ceiling*3/4)
			require.LessOrEqual(t, pause, ceiling)
		}
	}
}

func TestBackoffBooks(t *testing.T) {
	start := time.Unix(1, 0)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	longest := func(n time.Duration) time.Duration { return n - 1 }
	var b backoff
	require.LessOrEqual(t, b.wait(start, false), time.Duration(0))

	require.True(t, b.failed(start, at(time.Second), false, longest))
	require.False(t, b.failed(start, at(2*time.Second), false, longest), "of the same burst")
	require.Equal(t, 1, b.failures)
	for i := 2; i <= 12; i++ {
		begun := b.notBefore
		require.True(t, b.failed(begun, begun.Add(time.Second), false, longest))
		require.Equal(t, i, b.failures)
	}
	now := b.failedAt.Add(time.Second)
	require.Equal(t, backoffCeiling-1-time.Second, b.wait(now, false))
	require.Equal(t, busyCeiling-time.Second, b.wait(now, true), "somebody came")

	b.succeeded()
	require.Zero(t, b.failures)
	require.LessOrEqual(t, b.wait(now, false), time.Duration(0))
	require.False(t, b.failed(start, now, false, longest), "begun before the last failure")
	require.True(t, b.failed(now, now.Add(1), false, longest))
	require.Equal(t, 1, b.failures)
}
