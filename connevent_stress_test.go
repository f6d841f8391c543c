package pool

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestStressEvents: single-ended pools whose every hook fails at times, and whose
// users do all that users may, tell each change once.
func TestStressEvents(t *testing.T) {
	for round, end := range map[string]func(*Pool){
		"none":  func(*Pool) {},
		"close": func(p *Pool) { p.Close() },
		"drain": func(p *Pool) { p.Drain(context.Background()) },
	} {
		t.Run(round, func(t *testing.T) {
			var w watcher
			p := keep(t)(NewLocal(failingConfig(&w)))
			w.pool.Store(p)
			var enough atomic.Bool
			more := func() bool { return !enough.Load() }
			var ids sync.Map
			var work sync.WaitGroup
			for i := range uint64(6) {
				work.Go(func() { user(t, p, i, more, &ids) })
				work.Go(func() { localUser(t, p, i, more) })
			}
			work.Go(func() {
				churn(p, 7, more, func() {
					checkDue(p, time.Now().Add(time.Hour))
					time.Sleep(time.Millisecond) // connections are to live for some uses
				})
			})
			require.Eventually(t, func() bool { return seenAll(p.Stats()) }, 20*time.Second, time.Millisecond, "%+v", p.Stats())
			end(p)
			enough.Store(true)
			work.Wait()
			p.Close()
			requireQuiet(t, p)
			w.requireBooks(t, p)
		})
	}
}

// TestStressGroupEvents: the pools of a group, whose connections make way for each
// other's takers, and which end and are made again, tell each change once.
func TestStressGroupEvents(t *testing.T) {
	var mu sync.Mutex
	var watchers []*watcher // one of each pool that there was
	g, err := NewGroup(GroupConfig{MaxOpen: 3, MaxKeys: 4, New: func(string) (LocalConfig, error) {
		w := new(watcher)
		mu.Lock()
		defer mu.Unlock()
		watchers = append(watchers, w)
		return failingConfig(w), nil
	}})
	require.NoError(t, err)
	t.Cleanup(func() { g.Close() })
	var enough atomic.Bool
	var work sync.WaitGroup
	for i := range uint64(8) {
		work.Go(func() {
			for r := rand.New(rand.NewPCG(i, 5)); !enough.Load(); {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(20))*time.Millisecond)
				_ = g.Do(ctx, string(rune('a'+r.IntN(6))), func(net.Conn) error {
					if r.IntN(4) == 0 {
						return errBroken
					}
					return nil
				})
				cancel()
			}
		})
	}
	require.Eventually(t, func() bool {
		s := g.Stats().Sum
		return s.HandedOut > 500 && s.Closed[ClosedMadeWay] > 0 && s.Closed[ClosedDiscarded] > 0
	}, 20*time.Second, time.Millisecond)
	enough.Store(true)
	work.Wait()
	g.Close()
	var sum Stats
	for _, w := range watchers {
		one := w.sum(t)
		require.Zero(t, one.Idle+one.Out)
		sum = sum.Add(one)
	}
	requireTold(t, sum, g.Stats().Sum)
}

// seenAll reports whether a pool has been through enough, and some of everything.
func seenAll(s Stats) bool {
	for _, why := range []CloseReason{ClosedSingle, ClosedCheck, ClosedDiscarded, ClosedByHolder, ClosedCleaned, ClosedUses} {
		if s.Closed[why] == 0 {
			return false
		}
	}
	return s.HandedOut > 2000 && s.SetupFailures > 0
}

// failingConfig is of a server in memory, at which everything fails at times.
func failingConfig(w *watcher) LocalConfig {
	sometimes := func(percent int) func(context.Context, *Conn) error {
		return func(_ context.Context, c *Conn) error {
			switch n := rand.IntN(100); {
			case n < percent:
				return errBroken
			case n == 99:
				c.Close()
			}
			return nil
		}
	}
	return LocalConfig{
		OnConn: w.note,
		Dial: func(context.Context) (net.Conn, error) {
			if rand.IntN(100) < 2 {
				return nil, errBroken
			}
			return newIdleConn(), nil
		},
		Setup: sometimes(2), Check: sometimes(5), Goodbye: sometimes(5), CheckAtGet: time.Microsecond,
		MinInterval: time.Millisecond, MaxInterval: 10 * time.Millisecond,
		Limits: Limits{MinCap: 4, MaxOpen: 16, MaxIdle: 12, IdleTimeout: 5 * time.Millisecond, MaxAge: 50 * time.Millisecond,
			MaxUses: 4, MaxWaiters: 8, WhenFull: OverflowWhenFull},
	}
}

// localUser does what only users of a single-ended pool do.
func localUser(t *testing.T, p *Pool, seed uint64, more func() bool) {
	r := rand.New(rand.NewPCG(seed, 4))
	for more() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(5000))*time.Microsecond)
		var err error
		switch r.IntN(4) {
		case 0:
			var c *Conn
			if c, err = p.Fresh(ctx); err == nil {
				anyEnd(r, p, c)
			}
		case 1:
			var c *Conn
			if c, err = p.Get(ctx); err == nil {
				p.Discard(c.ID(), c, errBroken)
			}
		case 2:
			request := p.Request()
			var c *Conn
			if c, err = request.Wait(ctx); err == nil {
				anyEnd(r, p, c)
			}
		default:
			err = p.Do(ctx, func(net.Conn) error {
				if r.IntN(5) == 0 {
					return errBroken
				}
				return nil
			})
		}
		cancel()
		if err != nil && !expected(err) && !errors.Is(err, errBroken) && !errors.Is(err, errHookClosed) {
			t.Errorf("unexpected: %v", err)
		}
	}
}
