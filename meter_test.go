package pool

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMeter(t *testing.T) {
	start := time.Unix(1, 0)
	at := func(d time.Duration) time.Time { return start.Add(d) }

	t.Run("an even rate is the rate times the refill time", func(t *testing.T) {
		m := meter{refill: 200 * time.Millisecond}
		for i := range 2000 {
			m.took(at(time.Duration(i) * 10 * time.Millisecond)) // 100 a second
		}
		m.reset(at(20 * time.Second))
		require.InDelta(t, 100*0.2*refillMargin, m.peak, 1)
	})
	t.Run("a burst is the burst", func(t *testing.T) {
		var m meter
		for range 300 {
			m.took(start)
		}
		require.Equal(t, 300.0, m.peak)
		m.reset(at(time.Minute))
		require.InDelta(t, 0, m.peak, 1e-9)
	})
	t.Run("what comes back is not missing", func(t *testing.T) {
		m := meter{refill: 200 * time.Millisecond}
		for i := range 2000 {
			m.took(at(time.Duration(i) * 10 * time.Millisecond))
			m.add(at(time.Duration(i)*10*time.Millisecond), -1)
		}
		require.Equal(t, 1.0, m.peak)
		m.add(at(time.Minute), -1)
		m.took(at(time.Minute))
		require.Equal(t, 1.0, m.peak, "more never come back than went")
	})
	t.Run("who waited counts once", func(t *testing.T) {
		var m meter
		m.waiting(start, 5)
		m.waiting(start, 8)
		require.Equal(t, 8.0, m.level)
		for range 8 {
			m.took(start)
		}
		require.Equal(t, 8.0, m.level)
		m.took(start)
		require.Equal(t, 9.0, m.level)
	})
	t.Run("a time before the last counts as the last", func(t *testing.T) {
		var m meter
		m.took(at(time.Second))
		m.took(start)
		require.Equal(t, 2.0, m.level)
		require.Equal(t, at(time.Second), m.at)
	})
	t.Run("the refill time is smoothed", func(t *testing.T) {
		var m meter
		m.dialed(80 * time.Millisecond)
		require.Equal(t, 80*time.Millisecond, m.refill)
		m.dialed(160 * time.Millisecond)
		require.Equal(t, 90*time.Millisecond, m.refill)
		m.dialed(0)
		require.Positive(t, m.refill)
	})
	t.Run("a dial that takes no time", func(t *testing.T) {
		var m meter
		m.dialed(0)
		m.took(start)
		m.took(at(time.Hour))
		require.InDelta(t, 1, m.level, 1e-9)
	})
}
