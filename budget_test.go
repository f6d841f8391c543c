package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// openCounter is a dial function around another that knows the most that was open
// at once.
type openCounter struct {
	dial      func(context.Context) (net.Conn, error)
	now, most atomic.Int64
}

func (o *openCounter) Dial(ctx context.Context) (net.Conn, error) {
	now := o.now.Add(1)
	for most := o.most.Load(); now > most && !o.most.CompareAndSwap(most, now); most = o.most.Load() {
	}
	conn, err := o.dial(ctx)
	if err != nil {
		o.now.Add(-1)
		return nil, err
	}
	return &countedConn{Conn: conn, gone: sync.OnceFunc(func() { o.now.Add(-1) })}, nil
}

type countedConn struct {
	net.Conn
	gone func()
}

func (c *countedConn) Close() error {
	defer c.gone() // after: it is open until it is closed
	return c.Conn.Close()
}

// newBounded makes a group with a bound on all keys, whose connections are counted.
func newBounded(t testing.TB, s *lineServer, maxOpen int, template LocalConfig) (*Group, *openCounter) {
	o := &openCounter{dial: s.dial}
	t.Cleanup(func() { // after the group's
		require.Zero(t, o.now.Load())
		require.LessOrEqual(t, o.most.Load(), int64(maxOpen))
	})
	return newGroup(t, s, GroupConfig{MaxOpen: maxOpen, New: func(string) (LocalConfig, error) {
		local := template
		local.Dial = o.Dial
		return local, nil
	}}, LocalConfig{}), o
}

// noneAhead are limits of a pool that dials for takers only.
var noneAhead = Limits{MinCap: -1}

// TestBudgetLongestIdleMakesWay: for a key whose taker waits, the connection goes
// that nobody has used for longest, of whatever key, and in order.
func TestBudgetLongestIdleMakesWay(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g, _ := newBounded(t, s, 3, LocalConfig{Limits: noneAhead, Goodbye: saying("bye")})
		hold := map[string]*Conn{}
		for _, key := range []string{"a", "b", "c"} {
			hold[key] = mustGetKey(t, g, key)
		}
		for _, key := range []string{"b", "a", "c"} {
			g.Put(hold[key])
			time.Sleep(time.Second)
		}
		for i, want := range []string{"b", "a", "c"} {
			defer mustGetKey(t, g, fmt.Sprint(i)).Close()
			synctest.Wait()
			stats := g.Stats()
			require.EqualValues(t, 1, stats.Keys[want].Closed[ClosedMadeWay], "%s should have gone as number %d", want, i)
			require.EqualValues(t, i+1, stats.Sum.Closed[ClosedMadeWay])
			require.Equal(t, 3, stats.Open)
			require.Equal(t, i+1, s.heardOf("bye"))
		}
	})
}

// TestBudgetWaitsForGoodbye: a connection counts until it is closed.
func TestBudgetWaitsForGoodbye(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g, _ := newBounded(t, s, 1, LocalConfig{Limits: noneAhead, Goodbye: func(context.Context, *Conn) error {
			time.Sleep(300 * time.Millisecond)
			return nil
		}})
		g.Put(mustGetKey(t, g, "a"))
		begun := time.Now()
		g.Put(mustGetKey(t, g, "b"))
		require.Equal(t, 300*time.Millisecond, time.Since(begun))
	})
}

// TestBudgetNextPutMakesWay: with none idle anywhere the next that is put back by a
// key without waiters makes way, and keys are served in order of arrival.
func TestBudgetNextPutMakesWay(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g, _ := newBounded(t, s, 2, LocalConfig{Limits: noneAhead})
		a1, a2 := mustGetKey(t, g, "a"), mustGetKey(t, g, "a")
		b := laterKey(g, "b")
		time.Sleep(time.Millisecond)
		c := laterKey(g, "c")
		time.Sleep(time.Millisecond)
		b2 := laterKey(g, "b")
		g.Put(a1)
		b1 := mustCome(t, b)
		synctest.Wait()
		require.Empty(t, c)
		g.Put(a2)
		c1 := mustCome(t, c)
		require.EqualValues(t, 2, g.Stats().Keys["a"].Closed[ClosedMadeWay])
		g.Put(b1) // to its own key's waiter: nobody else waits
		g.Put(mustCome(t, b2))
		g.Put(c1)
		require.Equal(t, 4, s.dials())
	})
}

// TestBudgetNobodyStarves: keys whose takers never end do not keep the others out,
// with as many keys as places and with more.
func TestBudgetNobodyStarves(t *testing.T) {
	for _, keys := range []int{2, 4, 10} {
		t.Run(fmt.Sprint(keys), func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *lineServer) {
				g, o := newBounded(t, s, 4, LocalConfig{Limits: Limits{MinCap: -1, MaxOpen: 8, AcquireTimeout: -1}})
				ctx, cancel := context.WithCancel(context.Background())
				served := make([]int, keys)
				longest := make([]time.Duration, keys)
				var mu sync.Mutex
				var all sync.WaitGroup
				for user := range keys * 8 {
					n := user % keys
					all.Go(func() {
						time.Sleep(time.Duration(n) * time.Millisecond) // the first takes all there is
						for ctx.Err() == nil {
							begun := time.Now()
							c, err := g.Get(ctx, fmt.Sprint(n))
							if err != nil {
								return
							}
							mu.Lock()
							served[n]++
							longest[n] = max(longest[n], time.Since(begun))
							mu.Unlock()
							time.Sleep(3 * time.Millisecond)
							g.Put(c)
						}
					})
				}
				time.Sleep(20 * time.Second)
				cancel()
				all.Wait()
				require.LessOrEqual(t, o.most.Load(), int64(4))
				turns := uint64(0)
				for n := range keys {
					require.Greater(t, served[n], 20000/3*4/keys/4, "key %d of %v", n, served)
					require.Less(t, longest[n], time.Second, "key %d of %v", n, longest)
				}
				turns = g.Stats().Sum.Closed[ClosedMadeWay]
				t.Logf("served %v, longest waits %v, %d made way", served, longest, turns)
				require.Less(t, turns, uint64(20000/50*4), "not at each use")
			})
		})
	}
}

// TestBudgetBusyKeyKeepsItsOwn for a turn: what comes back is its own takers' first.
func TestBudgetBusyKeyKeepsItsOwn(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g, _ := newBounded(t, s, 1, LocalConfig{Limits: noneAhead})
		c := mustGetKey(t, g, "a")
		own := make([]<-chan got, 4)
		for i := range own {
			own[i] = laterKey(g, "a")
		}
		other := laterKey(g, "b")
		for i := range 3 {
			time.Sleep(shareTurn/2 + time.Millisecond)
			g.Put(c)
			c = mustCome(t, own[i])
		}
		require.Empty(t, other)
		time.Sleep(shareTurn / 2)
		g.Put(c)
		c = mustCome(t, other)
		synctest.Wait()
		require.Empty(t, own[3])
		g.Put(c)
		g.Put(mustCome(t, own[3]))
		require.EqualValues(t, 2, g.Stats().Sum.Closed[ClosedMadeWay])
	})
}

// TestBudgetDialAhead uses what is free, and takes nobody's place.
func TestBudgetDialAhead(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g, _ := newBounded(t, s, 5, LocalConfig{Limits: Limits{MinCap: 3}})
		a := mustGetKey(t, g, "a")
		synctest.Wait()
		g.Put(a)
		g.Put(mustGetKey(t, g, "b"))
		time.Sleep(time.Minute)
		stats := g.Stats()
		require.Equal(t, 5, stats.Open)
		require.Zero(t, stats.Sum.Closed[ClosedMadeWay])
		c := mustGetKey(t, g, "c")
		time.Sleep(time.Minute)
		synctest.Wait()
		stats = g.Stats()
		require.EqualValues(t, 1, stats.Sum.Closed[ClosedMadeWay], "for the taker, not for those ahead of takers")
		require.Equal(t, 1, stats.Keys["c"].Out+stats.Keys["c"].Idle)
		g.Close("a")
		time.Sleep(time.Minute)
		synctest.Wait()
		stats = g.Stats()
		require.Equal(t, 5, stats.Open, "%+v", stats.Keys)
		g.Put(c)
	})
}

// TestBudgetDialsThatFail hold no place, and what a taker who left was granted goes
// to the next.
func TestBudgetDialsThatFail(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		o := &openCounter{dial: s.dial}
		g := newGroup(t, s, GroupConfig{MaxOpen: 1, New: func(key string) (LocalConfig, error) {
			dial := o.Dial
			switch key {
			case "refuses":
				dial = func(context.Context) (net.Conn, error) { return nil, errBroken }
			case "hangs":
				dial = func(ctx context.Context) (net.Conn, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}
			}
			return LocalConfig{Dial: dial, ConnectTimeout: 2 * time.Second, Limits: Limits{MinCap: -1, AcquireTimeout: -1}}, nil
		}}, LocalConfig{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for _, key := range []string{"refuses", "hangs"} {
			for range 3 {
				go func() { _, _ = g.Get(ctx, key) }() // ends with ctx
			}
		}
		synctest.Wait()
		for range 5 {
			begun := time.Now()
			g.Put(mustGetKey(t, g, "works"))
			require.LessOrEqual(t, time.Since(begun), 3*time.Second, "one dial that hangs is waited for")
			time.Sleep(5 * time.Second)
		}
		<-ctx.Done()
		time.Sleep(10 * time.Second)
		require.LessOrEqual(t, g.Stats().Open, 1)
	})
}

// TestBudgetTakersLeave: nobody makes way for who has left.
func TestBudgetTakersLeave(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g, _ := newBounded(t, s, 1, LocalConfig{Limits: noneAhead})
		c := mustGetKey(t, g, "a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for range 3 {
			_, err := g.Get(ctx, "b")
			require.ErrorIs(t, err, ErrTimeout)
		}
		g.Put(c)
		require.EqualValues(t, 0, g.Stats().Sum.Closed[ClosedMadeWay])
		c = mustGetKey(t, g, "a")
		waiting := laterKey(g, "b")
		g.Close("b") // who wanted is gone with its pool
		require.ErrorIs(t, (<-waiting).err, ErrClosed)
		g.Put(c)
		require.EqualValues(t, 0, g.Stats().Sum.Closed[ClosedMadeWay])
		require.Equal(t, 1, s.dials())
	})
}

// TestBudgetAndSingles: connections made for one holder do not count.
func TestBudgetAndSingles(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g := newGroup(t, s, GroupConfig{MaxOpen: 1}, LocalConfig{Limits: noneAhead})
		c := mustGetKey(t, g, "a")
		for range 3 {
			fresh, err := g.Fresh(t.Context(), "b")
			require.NoError(t, err)
			defer g.Put(fresh)
		}
		require.Equal(t, 1, g.Stats().Open)
		require.Equal(t, 4, s.open())
		g.Put(c)
	})
}

// TestBudgetEveryEnd gives the place back: whatever becomes of a connection, the
// next one can be made.
func TestBudgetEveryEnd(t *testing.T) {
	ends := map[string]func(g *Group, s *lineServer, c *Conn){
		"Close":   func(_ *Group, _ *lineServer, c *Conn) { c.Close() },
		"Discard": func(g *Group, _ *lineServer, c *Conn) { g.Discard(c, errBroken) },
		"unfit": func(g *Group, _ *lineServer, c *Conn) {
			c.spoil()
			g.Put(c)
		},
		"Clean": func(g *Group, _ *lineServer, c *Conn) {
			p := c.pool
			g.Put(c)
			p.Clean()
		},
		"Flush": func(_ *Group, _ *lineServer, c *Conn) { c.pool.Flush() },
		"check fails": func(g *Group, s *lineServer, c *Conn) {
			g.Put(c)
			s.setMute(true)
			time.Sleep(time.Minute)
			s.setMute(false)
			require.Positive(s.t, g.Stats().Sum.CheckFailures)
		},
		"key closed":          func(g *Group, _ *lineServer, c *Conn) { g.Put(c); g.Close("a") },
		"put after its close": func(g *Group, _ *lineServer, c *Conn) { g.Close("a"); g.Put(c) },
		"unused":              func(g *Group, _ *lineServer, c *Conn) { g.Put(c); time.Sleep(time.Hour) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *lineServer) {
				g, _ := newBounded(t, s, 1, LocalConfig{Limits: noneAhead, Check: saying("there?"), Goodbye: saying("bye")})
				for range 3 {
					end(g, s, mustGetKey(t, g, "a"))
					synctest.Wait()
				}
				g.Put(mustGetKey(t, g, "b"))
				require.Equal(t, 1, g.Stats().Open)
			})
		})
	}
}

// TestBudgetSetupFailsOnSome: what Setup refuses gives its place back.
func TestBudgetSetupFailsOnSome(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		n := 0
		g, _ := newBounded(t, s, 1, LocalConfig{Limits: noneAhead, Setup: func(_ context.Context, c *Conn) error {
			switch n++; n % 3 {
			case 0:
				return errors.New("not now")
			case 1:
				return c.Close()
			}
			return nil
		}})
		for range 10 {
			c := mustGetKey(t, g, "a")
			c.Close()
		}
		require.Zero(t, g.Stats().Open)
	})
}

// TestBudgetHooksThatClose give one place back, not two.
func TestBudgetHooksThatClose(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		closing := func(_ context.Context, c *Conn) error { return c.Close() }
		g, _ := newBounded(t, s, 2, LocalConfig{Limits: Limits{MinCap: -1, MaxUses: 1}, Check: closing, CheckEvery: 5 * time.Second, Goodbye: closing})
		held := mustGetKey(t, g, "a")
		for range 3 {
			g.Put(mustGetKey(t, g, "b"))
			synctest.Wait()
			require.Equal(t, 1, g.Stats().Open)
		}
		g.Put(held)
		synctest.Wait()
		require.Zero(t, g.Stats().Open)

		other, _ := newBounded(t, newLineServer(t, nil), 2, LocalConfig{Limits: noneAhead, Check: closing, CheckEvery: 5 * time.Second})
		held = mustGetKey(t, other, "a")
		other.Put(mustGetKey(t, other, "b"))
		time.Sleep(10 * time.Second)
		require.LessOrEqual(t, other.Stats().Open, 2)
		other.Put(held)
	})
}
