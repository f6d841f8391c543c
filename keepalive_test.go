package pool

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestProbes: connections are probed at different times, several times before
// one ends, and all are given up after twice the idle time.
func TestProbes(t *testing.T) {
	for _, tt := range []struct {
		keepAlive      time.Duration
		part           float64
		idle, interval time.Duration
		count          int
	}{
		{30 * time.Second, 0, 15 * time.Second, 4 * time.Second, 12},
		{30 * time.Second, 0.5, 23 * time.Second, 4 * time.Second, 10},
		{30 * time.Second, 1, 30 * time.Second, 4 * time.Second, 8},
		{12 * time.Second, 1, 12 * time.Second, 2 * time.Second, 6},
		{3 * time.Second, 1, 3 * time.Second, time.Second, 3},
		{time.Second, 1, time.Second, time.Second, 3},
		{time.Millisecond, 0, time.Second, time.Second, 3},
		{time.Hour, 1, time.Hour, 400 * time.Second, 9},
	} {
		p := probes(tt.keepAlive, tt.part)
		require.True(t, p.Enable)
		require.Equal(t, tt.idle, p.Idle, "%v", tt)
		require.Equal(t, tt.interval, p.Interval, "%v", tt)
		require.Equal(t, tt.count, p.Count, "%v", tt)
	}
	require.False(t, probes(-1, 0).Enable)
}
