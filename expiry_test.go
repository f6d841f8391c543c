package pool

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// newLimitedCore makes a server pool without a listener.
func newLimitedCore(t testing.TB, limits Limits) *Pool {
	return keep(t)(NewServer(ServerConfig{Limits: limits}))
}

func TestOrder(t *testing.T) {
	for order, want := range map[Order][]int{NewestFirst: {2, 2, 2, 1, 0}, OldestFirst: {0, 1, 2, 0, 1}} {
		p := newLimitedCore(t, Limits{Order: order})
		var ids []string
		for range 3 {
			id, _ := admit(t, p)
			ids = append(ids, id)
		}
		for i, n := range want {
			c := mustGet(t, p)
			require.Equal(t, ids[n], c.ID(), "order %d, hand-out %d", order, i)
			if i < 2 {
				p.Put(c.ID(), c)
			}
		}
	}
}

func TestMaxUses(t *testing.T) {
	p := newLimitedCore(t, Limits{MaxUses: 3})
	id, peer := admit(t, p)
	for use := range 3 {
		c := mustGet(t, p)
		require.Equal(t, id, c.ID())
		require.Equal(t, use < 2, p.Reserve(c), "nobody is promised what the Put will close")
		p.Put(id, c)
	}
	requireEnded(t, peer)
	require.Equal(t, map[CloseReason]uint64{ClosedUses: 1}, p.Stats().Closed)
	require.Zero(t, p.Active())
}

// TestUsedUpIsReplacedAtOnce: by the side that dials, also when it hands out.
func TestUsedUpIsReplacedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f farEnd
		p := f.newClientPool(t, ClientConfig{Reverse: true, MinInterval: time.Minute, MaxInterval: time.Minute,
			Limits: Limits{MinCap: 1, MaxCap: 50, MaxOpen: 1, MaxUses: 1}})
		synctest.Wait()
		start := time.Now()
		c := mustGet(t, p)
		for n := range 20 {
			next := laterGet(p)
			if n%2 == 0 {
				p.Put(c.ID(), c)
			} else {
				c.Close() // a holder that ends it makes room just as well
			}
			g := <-next
			require.NoError(t, g.err)
			require.NotEqual(t, c.ID(), g.conn.ID())
			c = g.conn
		}
		require.Zero(t, time.Since(start))
		require.Equal(t, map[CloseReason]uint64{ClosedUses: 10, ClosedByHolder: 10}, p.Stats().Closed)
		require.Equal(t, 21, f.count())
	})
}

func TestLifetime(t *testing.T) {
	for part, want := range map[float64]time.Duration{
		0: 100 * time.Hour, 0.5: 90 * time.Hour, 1: 80 * time.Hour,
	} {
		require.InDelta(t, want, lifetime(100*time.Hour, part), 1)
	}
	require.Positive(t, lifetime(1, 0.999))
}

// TestMaxAge: no holder gets one that is too old, and none goes back.
func TestMaxAge(t *testing.T) {
	const age = 100 * time.Second
	synctest.Test(t, func(t *testing.T) {
		p := newLimitedCore(t, Limits{MaxAge: age})
		held, heldPeer := admit(t, p)
		c := mustGet(t, p)
		byID, byIDPeer := admit(t, p)
		_, oldPeer := admit(t, p)
		time.Sleep(age*8/10 - 1) // of the bubble's clock
		young := mustGet(t, p)
		require.True(t, p.Reserve(young), "the youngest of bounds is not reached")
		p.Put(young.ID(), young)
		require.Equal(t, 2, p.Active())

		time.Sleep(age * 2 / 10)
		require.False(t, p.Reserve(c))
		requireEcho(t, c, heldPeer) // it is left to its holder
		p.Put(held, c)
		requireEnded(t, heldPeer)
		id, err := ParseID(byID)
		require.NoError(t, err)
		_, err = p.Take(t.Context(), id)
		require.ErrorIs(t, err, ErrNotFound)
		requireEnded(t, byIDPeer)
		_, _, err = p.ServerGet(0)
		require.ErrorIs(t, err, ErrTimeout)
		requireEnded(t, oldPeer)
		require.Equal(t, map[CloseReason]uint64{ClosedAge: 3}, p.Stats().Closed)
	})
}

// TestMaxAgeOfTheIdle: all made at one moment are closed one by one, in the last
// fifth of their time, and replaced.
func TestMaxAgeOfTheIdle(t *testing.T) {
	const size = 100
	synctest.Test(t, func(t *testing.T) {
		var f farEnd
		p := f.newClientPool(t, ClientConfig{Reverse: true,
			Limits: Limits{MinCap: size, MaxCap: size, MaxAge: 100 * time.Second}})
		synctest.Wait()
		time.Sleep(79 * time.Second) // of the bubble's clock
		require.Zero(t, p.Stats().Closed[ClosedAge])
		var before uint64
		for range 23 {
			time.Sleep(time.Second)
			synctest.Wait()
			closed := p.Stats().Closed[ClosedAge]
			require.Less(t, closed-before, uint64(size/4), "in one second")
			require.Greater(t, p.Active(), size/2)
			before = closed
		}
		require.EqualValues(t, size, before, "the first ones, and none of the next")
		time.Sleep(3 * time.Second)
		require.Equal(t, size, p.Active())
		require.Equal(t, 2*size, f.count())
	})
}

// TestIdleTimeout: those unused for longest go, down to MinCap.
func TestIdleTimeout(t *testing.T) {
	for minCap, want := range map[int]int{0: 0, 2: 2} {
		synctest.Test(t, func(t *testing.T) {
			p := run(t, newLimitedCore(t, Limits{MinCap: minCap, IdleTimeout: time.Minute}))
			var ids []string
			for range 5 {
				id, _ := admit(t, p)
				ids = append(ids, id)
			}
			time.Sleep(50 * time.Second) // of the bubble's clock
			c, err := p.ClientGet(ids[1])
			require.NoError(t, err)
			p.Put(ids[1], c)
			time.Sleep(9 * time.Second)
			require.Equal(t, 5, p.Active())
			time.Sleep(3 * time.Second)
			require.Equal(t, max(want, 1), p.Active())
			c = mustGet(t, p)
			require.Equal(t, ids[1], c.(*Conn).ID(), "it was used meanwhile")
			p.Put(ids[1], c)
			time.Sleep(time.Hour)
			require.Equal(t, want, p.Active())
			require.Equal(t, uint64(5-want), p.Stats().Closed[ClosedIdle])
		})
	}
}

// TestIdleTimeoutAfterAge: what goes for its age counts before MinCap is kept.
func TestIdleTimeoutAfterAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLimitedCore(t, Limits{MinCap: 2, IdleTimeout: time.Minute, MaxAge: time.Hour})
		for range 3 {
			admit(t, p)
		}
		p.mu.Lock()
		p.idle.newest.expires = time.Now()
		p.mu.Unlock()
		time.Sleep(2 * time.Minute) // of the bubble's clock
		s := sweeper{pool: p}
		s.sweep(time.Now())
		require.Equal(t, map[CloseReason]uint64{ClosedAge: 1}, p.Stats().Closed)
		require.Equal(t, 2, p.Active())
	})
}

// TestIdleTimeoutShrinksADialingPool: what nobody needs is not dialed for again.
func TestIdleTimeoutShrinksADialingPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f farEnd
		p := f.newClientPool(t, ClientConfig{Reverse: true,
			Limits: Limits{MinCap: 2, MaxCap: 100, IdleTimeout: 5 * time.Second}})
		var held []*Conn
		for range 40 {
			held = append(held, mustGet(t, p))
		}
		synctest.Wait()
		time.Sleep(time.Second) // of the bubble's clock
		require.Greater(t, p.Capacity(), 10)
		for _, c := range held {
			p.Put(c.ID(), c)
		}
		before := f.count()
		time.Sleep(8 * time.Second)
		require.Equal(t, 2, p.Active())
		require.Equal(t, 2, p.Capacity())
		time.Sleep(time.Hour)
		require.Equal(t, 2, p.Active())
		require.LessOrEqual(t, f.count(), before+2)
	})
}

// TestMaxIdleOfADialingPool: it does not dial for what it would close.
func TestMaxIdleOfADialingPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f farEnd
		p := f.newClientPool(t, ClientConfig{Reverse: true, Limits: Limits{MinCap: 2, MaxCap: 100, MaxIdle: 4}})
		var held []*Conn
		for range 20 {
			held = append(held, mustGet(t, p))
		}
		for _, c := range held {
			p.Put(c.ID(), c)
		}
		require.GreaterOrEqual(t, p.Active(), 20, "for a moment")
		time.Sleep(2 * time.Second) // of the bubble's clock
		require.Equal(t, 4, p.Active())
		before := f.count()
		time.Sleep(time.Hour)
		require.Equal(t, 4, p.Active())
		require.Equal(t, before, f.count())
	})
}

// TestExpiredAreSkipped: a Get goes on to the next, and a dialing pool is told.
func TestExpiredAreSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f farEnd
		p := f.newClientPool(t, ClientConfig{Reverse: true, Limits: Limits{MinCap: 3, MaxCap: 3, MaxAge: time.Hour}})
		synctest.Wait()
		p.mu.Lock()
		good := p.idle.oldest
		for e := p.idle.newest; e != good; e = e.next {
			e.expires = time.Now()
		}
		p.mu.Unlock()
		c := mustGet(t, p)
		require.Equal(t, good.text, c.ID())
		require.EqualValues(t, 2, p.Stats().Closed[ClosedAge])
		time.Sleep(time.Second) // of the bubble's clock
		require.Equal(t, 3, p.Active())
	})
}

// TestNothingExpiresByDefault: a pool without these limits keeps what it has.
func TestNothingExpiresByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := run(t, keep(t)(NewServer(ServerConfig{})))
		id, _ := admit(t, p)
		for range 3 {
			time.Sleep(time.Hour) // of the bubble's clock
			c := mustGet(t, p)
			require.Equal(t, id, c.ID())
			p.Put(id, c)
		}
	})
}
