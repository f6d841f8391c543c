package shape

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// moved is what one stream moves until ctx ends, in pieces of at most most.
func moved(ctx context.Context, l *Limit, d Direction, most int) (bytes int64) {
	for {
		n := min(l.Piece(), most)
		if l.Wait(ctx, d, n) != nil {
			return bytes
		}
		bytes += int64(n)
	}
}

// TestRateHolds: over 10 s as much passes as the rate says, in each direction for
// itself, whatever the rate.
func TestRateHolds(t *testing.T) {
	for _, bytes := range []int64{1000, 125_000, 12_500_000, 125_000_000} {
		synctest.Test(t, func(t *testing.T) {
			l := New(bytes)
			require.Equal(t, bytes, l.Rate())
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			var all sync.WaitGroup
			for _, d := range []Direction{FromEndpoint, ToEndpoint} {
				all.Go(func() {
					got := float64(moved(ctx, l, d, math.MaxInt)) / float64(10*bytes)
					require.InDelta(t, 1, got, 0.01+minBurst/float64(10*bytes), "of %d bytes a second", bytes)
				})
			}
			all.Wait()
		})
	}
}

// TestSmooth: no quarter of a second passes much more than its share, also after
// a pause.
func TestSmooth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(125_000)
		for range 3 {
			time.Sleep(time.Minute)
			for range 8 {
				ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
				got := moved(ctx, l, ToEndpoint, math.MaxInt)
				cancel()
				require.InDelta(t, 125_000/4, got, 125_000*float64(burstTime)/float64(time.Second)+float64(l.Piece()))
			}
		}
	})
}

// TestTurns: streams that share a limit get the same, and one that says little
// waits for no longer than a turn of all.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams = 50
		l := New(1_250_000)
		l.Spend(FromEndpoint, math.MaxInt) // or the first has all that may pass at once
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, cancel)
		var all sync.WaitGroup
		var got [streams]int64
		for i := range got {
			all.Go(func() { got[i] = moved(ctx, l, FromEndpoint, math.MaxInt) })
		}
		turn := time.Duration(streams*l.Piece()) * time.Second / 1_250_000
		for range 20 {
			time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
			begun := time.Now()
			if l.Wait(ctx, FromEndpoint, 100) != nil {
				break
			}
			require.LessOrEqual(t, time.Since(begun), turn+time.Millisecond)
		}
		all.Wait()
		for _, bytes := range got {
			require.InEpsilon(t, 1_250_000*10/streams, bytes, 0.1)
		}
	})
}

// TestWaitEnds: at once with its context, and what was not moved is not counted.
func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(1000)
		require.NoError(t, l.Wait(t.Context(), ToEndpoint, minBurst))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		for range 10 {
			go func() { ended <- l.Wait(ctx, ToEndpoint, 700) }()
		}
		synctest.Wait()
		begun := time.Now()
		cancel()
		for range 10 {
			require.ErrorIs(t, <-ended, context.Canceled)
		}
		require.Zero(t, time.Since(begun))
		require.NoError(t, l.Wait(t.Context(), ToEndpoint, 1000))
		require.InDelta(t, time.Second, time.Since(begun), float64(time.Millisecond))
	})
}

// TestSetRate: a change is for those in progress too, up, down and to what is as
// good as no limit; and Spend is paid for by who comes next.
func TestSetRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(1_000_000)
		second := func() int64 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return moved(ctx, l, ToEndpoint, math.MaxInt)
		}
		require.InEpsilon(t, 1_000_000, second(), 0.06)
		l.SetRate(100_000)
		require.InEpsilon(t, 100_000, second(), 0.06)
		require.NoError(t, l.Wait(t.Context(), ToEndpoint, 16<<10), "a piece of the former size")
		l.SetRate(2_000_000)
		require.InEpsilon(t, 2_000_000, second(), 0.06)
		l.SetRate(math.MaxInt64)
		begun := time.Now()
		for range 1000 {
			require.NoError(t, l.Wait(t.Context(), ToEndpoint, l.Piece()))
		}
		require.Less(t, time.Since(begun), time.Millisecond)

		l = New(1000)
		l.Spend(ToEndpoint, 1<<20) // a burst of it
		begun = time.Now()
		require.NoError(t, l.Wait(t.Context(), ToEndpoint, 1000))
		require.InDelta(t, time.Second, time.Since(begun), float64(time.Millisecond))
	})
}

func TestNoLimit(t *testing.T) {
	require.Nil(t, New(0))
	require.Nil(t, New(-1))
}

// TestTake: who cannot wait gets as much, in pieces of any size.
func TestTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, size := range []int{100, 1400, 65_507} {
			l := New(125_000)
			taken := 0
			for range 10_000 {
				time.Sleep(time.Millisecond)
				if l.Take(ToEndpoint, size) {
					taken += size
				}
			}
			most := min(10*125_000, 10_000*size)
			require.InEpsilon(t, most, taken, 0.02+float64(size)/float64(most))
		}
	})
}
