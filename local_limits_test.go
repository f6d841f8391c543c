package pool

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestOverflow: beyond MaxOpen each taker gets a connection of its own, which is
// never kept, and does not count against those that are.
func TestOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLineServer(t, nil)
		p := newLocal(t, s, LocalConfig{Limits: Limits{MinCap: 2, MaxOpen: 2, WhenFull: OverflowWhenFull}, Goodbye: saying("bye")})
		synctest.Wait()
		var conns []*Conn
		for range 5 {
			conns = append(conns, mustGet(t, p))
		}
		require.Equal(t, 5, p.Stats().Out)
		require.EqualValues(t, 2, p.Stats().Hits)
		for _, c := range conns {
			p.Put(c.ID(), c)
		}
		synctest.Wait()
		require.Equal(t, 2, p.Active())
		require.EqualValues(t, 3, p.Stats().Closed[ClosedSingle])
		require.Equal(t, 3, s.heardOf("bye"))
		requireBooks(t, p)

		a, b := mustGet(t, p), mustGet(t, p)
		s.setRefuse(errBroken)
		_, err := p.Get(t.Context())
		require.ErrorIs(t, err, errBroken, "who is dialed for hears of the dial")
		a.Close()
		b.Close()
	})
}

// TestFullFails: at MaxOpen a taker is told at once, but not while what is being
// dialed is for it.
func TestFullFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLocal(t, newLineServer(t, nil), LocalConfig{Limits: Limits{MaxOpen: 2, WhenFull: FailWhenFull}})
		a, b := mustGet(t, p), mustGet(t, p)
		_, err := p.Get(t.Context())
		require.ErrorIs(t, err, ErrFull)
		require.NoError(t, func() error { f, err := p.Fresh(t.Context()); p.Put(f.ID(), f); return err }())
		p.Put(a.ID(), a)
		a = mustGet(t, p)
		a.Close()
		b.Close()
	})
}

// TestLimitsSayGoodbye: what is too old, used up or unneeded goes in order.
func TestLimitsSayGoodbye(t *testing.T) {
	for why, limits := range map[CloseReason]Limits{
		ClosedAge:  {MinCap: 1, MaxOpen: 1, MaxAge: 10 * time.Second},
		ClosedUses: {MinCap: 1, MaxOpen: 1, MaxUses: 2},
		ClosedIdle: {MinCap: -1, MaxOpen: 1, IdleTimeout: 5 * time.Second},
		ClosedFull: {MaxOpen: 2, MaxIdle: 1},
	} {
		t.Run(string(why), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newLineServer(t, nil)
				p := newLocal(t, s, LocalConfig{Limits: limits, Goodbye: saying("bye")})
				for range 2 {
					a := mustGet(t, p)
					if limits.MaxOpen > 1 {
						b := mustGet(t, p)
						p.Put(b.ID(), b)
					}
					p.Put(a.ID(), a)
				}
				time.Sleep(12 * time.Second)
				synctest.Wait()
				require.Positive(t, p.Stats().Closed[why])
				require.EqualValues(t, s.heardOf("bye"), p.Stats().Closed[why])
				require.LessOrEqual(t, s.open(), 1)
				if limits.MinCap >= 0 {
					require.Equal(t, 1, p.Active(), "another one takes its place")
				} else {
					require.Zero(t, p.Active(), "nobody needs one")
				}
				p.Put(mustPut(t, p))
			})
		})
	}
}

// TestLocalWaiters: who waits is bounded in number and time, by default too.
func TestLocalWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLocal(t, newLineServer(t, nil), LocalConfig{Limits: Limits{MaxOpen: 1}})
		c := mustGet(t, p)
		began := time.Now()
		var waiting []<-chan got
		for range defaultMaxWaiters {
			waiting = append(waiting, laterGet(p))
		}
		_, err := p.Get(context.Background())
		require.ErrorIs(t, err, ErrTooManyWaiters)
		for _, w := range waiting {
			require.ErrorIs(t, (<-w).err, ErrTimeout)
		}
		require.Equal(t, defaultAcquireTimeout, time.Since(began))
		c.Close()
	})
}

// TestRetirementCostsADial: where each connection serves once, users wait for dials,
// not for the pace of a small pool.
func TestRetirementCostsADial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLineServer(t, nil)
		p := newLocal(t, s, LocalConfig{Limits: Limits{MaxOpen: 1, MaxUses: 1}})
		began := time.Now()
		for range 10 {
			p.Put(mustPut(t, p))
		}
		require.Less(t, time.Since(began), 10*time.Millisecond)
		for range 1000 {
			p.Put(mustPut(t, p))
		}
		require.Greater(t, time.Since(began), 5*time.Second, "but the server is not hammered")
	})
}

// TestSlowSetupIsNoDemand: who waits for a log-in that takes long is one taker, not
// one in each step that it waits.
func TestSlowSetupIsNoDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLineServer(t, nil)
		p := newLocal(t, s, LocalConfig{Limits: Limits{MaxOpen: 100}, Setup: func(context.Context, *Conn) error {
			time.Sleep(time.Second)
			return nil
		}})
		p.Put(mustPut(t, p))
		time.Sleep(5 * time.Second)
		require.LessOrEqual(t, s.dials(), 3, "it, and what is to be ready for the next")
		require.LessOrEqual(t, p.Capacity(), 2)
	})
}
