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

// TestCheckEvery: an idle connection is looked at when it was last proven a period
// ago, and goes when it fails; another one takes its place.
func TestCheckEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var frozen atomic.Bool
		s := newLineServer(t, func(conn int, line string) string {
			if conn == 0 && frozen.Load() {
				return "not what you want"
			}
			return line
		})
		p := newLocal(t, s, LocalConfig{Limits: Limits{MinCap: 2, MaxOpen: 2}, Check: saying("ping"), CheckEvery: 10 * time.Second})
		time.Sleep(9 * time.Second)
		require.Zero(t, s.heardOf("ping"), "too early")
		time.Sleep(2 * time.Second)
		require.Equal(t, 2, s.heardOf("ping"))
		require.EqualValues(t, 2, p.Stats().Checks)
		frozen.Store(true)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		stats := p.Stats()
		require.EqualValues(t, 1, stats.CheckFailures)
		require.EqualValues(t, 1, stats.Closed[ClosedCheck])
		require.Equal(t, 2, stats.Idle, "another one was dialed")
		require.Equal(t, 3, s.dials())
		require.Equal(t, 2, s.open(), "and the bad one is closed")
	})
}

// TestCheckLeavesHolders: what is in use is not looked at, and being put back is
// proof enough.
func TestCheckLeavesHolders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLineServer(t, nil)
		p := newLocal(t, s, LocalConfig{Limits: Limits{MaxOpen: 1}, Check: saying("ping"), CheckEvery: 10 * time.Second})
		c := mustGet(t, p)
		time.Sleep(time.Minute)
		require.Zero(t, s.heardOf("ping"))
		p.Put(c.ID(), c)
		time.Sleep(9 * time.Second)
		require.Zero(t, s.heardOf("ping"))
		time.Sleep(2 * time.Second)
		require.Equal(t, 1, s.heardOf("ping"))
	})
	synctest.Test(t, func(t *testing.T) {
		s := newLineServer(t, nil)
		newLocal(t, s, LocalConfig{Check: saying("ping"), CheckEvery: -1})
		time.Sleep(time.Hour)
		require.Zero(t, s.heardOf("ping"), "switched off")
	})
}

// TestCheckedIsNotHandedOut: whoever comes while the only connection is checked
// waits for the check, gets the connection if it is well, and another if not.
func TestCheckedIsNotHandedOut(t *testing.T) {
	for _, well := range []bool{true, false} {
		for _, byID := range []bool{false, true} {
			t.Run(fmt.Sprint("well ", well, ", by ID ", byID), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newLineServer(t, nil)
					goOn := make(chan error)
					p := newLocal(t, s, LocalConfig{
						Limits: Limits{MaxOpen: 1}, CheckEvery: 10 * time.Second, CheckTimeout: time.Hour,
						Check: func(context.Context, *Conn) error { return <-goOn },
					})
					c := mustGet(t, p)
					id := c.ID()
					p.Put(id, c)
					time.Sleep(11 * time.Second)
					require.Equal(t, 1, p.Stats().Checking)
					require.Zero(t, p.Active())
					requireBooks(t, p)
					var waiting <-chan got
					if byID {
						waiting = laterTake(p, id)
					} else {
						waiting = laterGet(p)
					}
					require.Empty(t, waiting)
					if well {
						goOn <- nil
						g := <-waiting
						require.NoError(t, g.err)
						require.Equal(t, id, g.conn.ID())
						g.conn.Close()
						return
					}
					goOn <- errBroken
					g := <-waiting
					if byID {
						require.ErrorIs(t, g.err, ErrNotFound)
						return
					}
					require.NoError(t, g.err)
					require.NotEqual(t, id, g.conn.ID())
					g.conn.Close()
				})
			})
		}
	}
}

// TestCheckKeepsPlace: a check changes neither what is handed out next nor what has
// been idle for longest.
func TestCheckKeepsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLocal(t, newLineServer(t, nil), LocalConfig{Limits: Limits{MinCap: 4, MaxOpen: 4}, Check: saying("ping"), CheckEvery: 10 * time.Second})
		var conns []*Conn
		for range 4 {
			conns = append(conns, mustGet(t, p))
		}
		for _, c := range conns {
			p.Put(c.ID(), c)
			time.Sleep(2 * time.Second) // so that they are due one after the other
		}
		time.Sleep(20 * time.Second)
		require.GreaterOrEqual(t, p.Stats().Checks, uint64(4))
		for i := len(conns) - 1; i >= 0; i-- {
			c := mustGet(t, p)
			require.Equal(t, conns[i].ID(), c.ID())
			defer c.Close()
		}
	})
}

// TestCheckHangs: a check has CheckTimeout, few run at once, and Close does not wait
// for them.
func TestCheckHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var frozen atomic.Bool
		block := make(chan struct{})
		defer close(block)
		s := newLineServer(t, nil)
		p := newLocal(t, s, LocalConfig{
			Limits: Limits{MinCap: 40, MaxOpen: 40}, CheckEvery: 10 * time.Second, CheckTimeout: 3 * time.Second,
			Check: func(_ context.Context, c *Conn) error {
				if frozen.Load() {
					_, err := c.Read(make([]byte, 1)) // for ever, but for the deadline
					return err
				}
				return nil
			},
		})
		time.Sleep(11 * time.Second)
		require.EqualValues(t, 40, p.Stats().Checks, "all, one after the other")
		frozen.Store(true)
		time.Sleep(11 * time.Second)
		require.Equal(t, maxCheckers, p.Stats().Checking)
		require.Equal(t, 40-maxCheckers, p.Active())
		time.Sleep(3 * time.Second)
		require.EqualValues(t, maxCheckers, p.Stats().CheckFailures)
		began := time.Now()
		p.Close()
		require.Less(t, time.Since(began), time.Second)
		requireBooks(t, p)
	})
}

// TestCheckAtGet: before a hand-out a connection that was not proven of late is
// looked at, and one that fails is nobody's.
func TestCheckAtGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bad sync.Map
		s := newLineServer(t, func(conn int, line string) string {
			if _, is := bad.Load(conn); is {
				return ""
			}
			return line
		})
		p := newLocal(t, s, LocalConfig{Limits: Limits{MinCap: 2, MaxOpen: 2}, Check: saying("ping"), CheckEvery: -1, CheckAtGet: 5 * time.Second})
		synctest.Wait()
		p.Put(mustPut(t, p))
		require.Zero(t, s.heardOf("ping"), "it is new")
		time.Sleep(6 * time.Second)
		p.Put(mustPut(t, p))
		require.Equal(t, 1, s.heardOf("ping"))
		p.Put(mustPut(t, p))
		require.Equal(t, 1, s.heardOf("ping"), "it was put back a moment ago")

		bad.Store(0, true)
		bad.Store(1, true)
		time.Sleep(6 * time.Second)
		c := mustGet(t, p)
		_, err := askLine(c, "x")
		require.NoError(t, err)
		stats := p.Stats()
		require.EqualValues(t, 2, stats.Closed[ClosedCheck])
		require.EqualValues(t, 4, stats.HandedOut)
		requireBooks(t, p)
		c.Close()

		id, err := ParseID(c.ID())
		require.NoError(t, err)
		_, err = p.Take(t.Context(), id)
		require.ErrorIs(t, err, ErrNotFound)
	})
}

// TestCheckAtGetAlways: a negative age looks every time, also by ID, for who had to
// wait, and for a Request; who asked and gave up meanwhile gets its own error.
func TestCheckAtGetAlways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fail error
		s := newLineServer(t, nil)
		p := newLocal(t, s, LocalConfig{Limits: Limits{MaxOpen: 1}, CheckEvery: -1, CheckAtGet: -1, Check: func(ctx context.Context, c *Conn) error {
			if fail == nil {
				return saying("ping")(ctx, c)
			}
			return fail
		}})
		c := mustGet(t, p)
		require.Equal(t, 1, s.heardOf("ping"))
		waiting := laterGet(p)
		p.Put(c.ID(), c)
		c = (<-waiting).conn
		require.Equal(t, 2, s.heardOf("ping"))
		p.Put(c.ID(), c)
		got, err := p.ClientGet(c.ID())
		require.NoError(t, err)
		require.Equal(t, 3, s.heardOf("ping"))
		p.Put(c.ID(), got)
		c, err = p.Request().Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, 4, s.heardOf("ping"))
		p.Put(c.ID(), c)

		fail = errBroken
		_, err = p.ClientGet(c.ID())
		require.ErrorIs(t, err, ErrNotFound)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err = p.Get(ctx)
		require.ErrorIs(t, err, ErrTimeout)
		stats := p.Stats()
		require.Positive(t, stats.CheckFailures)
		require.InDelta(t, 4, stats.HandedOut, 1, "one more if it came when the getter's time was over")
		requireBooks(t, p)
	})
}

// TestCleanWhileChecking: what is being checked when the pool is cleaned or flushed
// goes too.
func TestCleanWhileChecking(t *testing.T) {
	for what, clean := range map[string]func(*Pool){"clean": (*Pool).Clean, "flush": (*Pool).Flush} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				goOn := make(chan error)
				s := newLineServer(t, nil)
				p := newLocal(t, s, LocalConfig{
					Limits: Limits{MinCap: 2, MaxOpen: 2}, CheckEvery: 10 * time.Second, CheckTimeout: time.Hour,
					Check: func(context.Context, *Conn) error { return <-goOn },
				})
				time.Sleep(11 * time.Second)
				require.Equal(t, 1, p.Stats().Checking)
				clean(p)
				close(goOn)
				synctest.Wait()
				require.EqualValues(t, 2, p.Stats().Closed[ClosedCleaned])
				requireBooks(t, p)
				time.Sleep(time.Second)
				require.Equal(t, 2, p.Active(), "new ones")
				require.Equal(t, 2, s.open())
			})
		})
	}
}

// mustPut gets a connection, for it to be put back.
func mustPut(t testing.TB, p *Pool) (string, net.Conn) {
	c := mustGet(t, p)
	return c.ID(), c
}

// TestGoodbye: leave is taken of what is in order, and of nothing else.
func TestGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLineServer(t, nil)
		p := newLocal(t, s, LocalConfig{Limits: Limits{MinCap: 3, MaxOpen: 3}, Goodbye: saying("bye")})
		synctest.Wait()
		p.Clean()
		require.Equal(t, 3, s.heardOf("bye"))
		time.Sleep(time.Second)
		a, b, c := mustGet(t, p), mustGet(t, p), mustGet(t, p)
		p.Discard(a.ID(), a, errBroken)
		require.NoError(t, b.Close())
		require.Equal(t, 1, p.Stats().Out)
		p.Flush()
		_, err := c.Write([]byte("x"))
		require.ErrorIs(t, err, net.ErrClosed)
		time.Sleep(time.Second)
		require.Equal(t, 3, s.heardOf("bye"), "not of what is broken")
		d := mustGet(t, p)
		p.Close()
		require.Equal(t, 5, s.heardOf("bye"), "of the two that were idle")
		p.Put(d.ID(), d)
		require.Equal(t, 5, s.heardOf("bye"), "not after Close")
	})
}

// TestDrainSaysGoodbye: a drain takes leave also of what is put back during it.
func TestDrainSaysGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLineServer(t, nil)
		p := newLocal(t, s, LocalConfig{Limits: Limits{MinCap: 2, MaxOpen: 2}, Goodbye: saying("bye")})
		synctest.Wait() // both are there: a drain abandons what is being dialed
		c := mustGet(t, p)
		synctest.Wait() // until the other one is there
		drained := make(chan error, 1)
		go func() { drained <- p.Drain(context.Background()) }() // ends with the Put
		synctest.Wait()
		require.Equal(t, 1, s.heardOf("bye"))
		require.Empty(t, drained)
		p.Put(c.ID(), c)
		require.NoError(t, <-drained)
		require.Equal(t, 2, s.heardOf("bye"))
	})
}

// TestGoodbyeHangs: leave takes GoodbyeTimeout at most, also of many.
func TestGoodbyeHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLineServer(t, nil)
		p := newLocal(t, s, LocalConfig{
			Limits: Limits{MinCap: 200, MaxOpen: 200}, GoodbyeTimeout: 2 * time.Second,
			Goodbye: func(_ context.Context, c *Conn) error {
				_, err := c.Read(make([]byte, 1))
				return err
			},
		})
		time.Sleep(2 * time.Second)
		require.Equal(t, 200, s.open())
		began := time.Now()
		p.Close()
		require.Equal(t, 2*time.Second, time.Since(began))
		synctest.Wait()
		require.Zero(t, s.open())
	})
}

// TestHookErrors: a failing hook says what it was about.
func TestHookErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLineServer(t, nil)
		p := newLocal(t, s, LocalConfig{ConnectTimeout: time.Second, Setup: func(ctx context.Context, c *Conn) error {
			<-ctx.Done()
			return nil // too late all the same
		}})
		_, err := p.Fresh(t.Context())
		require.ErrorIs(t, err, ErrTimeout)
		require.ErrorContains(t, err, "set up the connection to pipe: not done in time")
		var timeout net.Error
		require.True(t, errors.As(err, &timeout) && timeout.Timeout())
	})
}
