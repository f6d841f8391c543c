package pool

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestHitsAndWaits: who finds an idle connection is a hit, who waits is counted
// with how long, in vain or not.
func TestHitsAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServerCore(t, 8)
		admit(t, p)
		c := mustGet(t, p)
		s := p.Stats()
		require.EqualValues(t, 1, s.Hits)
		require.Zero(t, s.Waited)
		require.Zero(t, s.Waits.Count())

		waiter := laterGet(p)
		time.Sleep(40 * time.Millisecond) // of the bubble's clock
		p.Put(c.ID(), c)
		require.NoError(t, (<-waiter).err)
		_, _, err := p.ServerGet(2 * time.Second)
		require.ErrorIs(t, err, ErrTimeout)

		s = p.Stats()
		require.EqualValues(t, 1, s.Hits)
		require.EqualValues(t, 2, s.HandedOut)
		require.EqualValues(t, 2, s.Waited)
		require.EqualValues(t, 2, s.Waits.Count())
		require.Equal(t, 2040*time.Millisecond, s.WaitTime)
		require.Equal(t, s.WaitTime, s.Waits.Sum)
		require.InDelta(t, 40*time.Millisecond, s.Waits.Quantile(0.25), float64(10*time.Millisecond))
	})
}
