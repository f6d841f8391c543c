package pool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestGroupStress: many users of many keys with few places, while servers refuse,
// log-ins and checks fail, connections break, and keys are closed and drained. In
// the end everything is counted, to the last connection.
func TestGroupStress(t *testing.T) {
	const keys, places, users = 50, 8, 40
	duration := 4 * time.Second
	if testing.Short() {
		duration = time.Second
	}
	s := newLineServer(t, nil)
	o := &openCounter{dial: s.dial}
	var singles atomic.Int64
	failing := func(one int) error {
		if rand.IntN(one) == 0 {
			return errBroken
		}
		return nil
	}
	g, err := NewGroup(GroupConfig{MaxOpen: places, MaxKeys: keys - 5, KeepUnused: 20 * time.Millisecond, New: func(key string) (LocalConfig, error) {
		return LocalConfig{
			Dial: func(ctx context.Context) (net.Conn, error) {
				if failing(10) != nil {
					return nil, fmt.Errorf("connection refused: %w", errBroken)
				}
				if ctx.Value(single{}) != nil {
					singles.Add(1)
					return s.dial(ctx)
				}
				return o.Dial(ctx)
			},
			Setup:      func(context.Context, *Conn) error { return failing(10) },
			Check:      func(context.Context, *Conn) error { return failing(5) },
			CheckEvery: time.Millisecond, CheckAtGet: time.Millisecond,
			Goodbye:     func(ctx context.Context, c *Conn) error { return errors.Join(failing(5), saying("bye")(ctx, c)) },
			MinInterval: time.Millisecond, MaxInterval: 5 * time.Millisecond,
			Limits: Limits{MinCap: 1, MaxOpen: 4, IdleTimeout: 50 * time.Millisecond, MaxAge: 200 * time.Millisecond, MaxUses: 20},
		}, failing(20)
	}})
	require.NoError(t, err)

	ctx, cancel := context.WithTimeout(context.Background(), duration)
	defer cancel()
	var all sync.WaitGroup
	var served, timeouts, ended, full, others [keys]atomic.Int64
	note := func(n int, err error) {
		switch {
		case err == nil:
			served[n].Add(1)
		case errors.Is(err, ErrTimeout) || errors.Is(err, context.Canceled) && !errors.Is(err, ErrClosed):
			timeouts[n].Add(1)
		case errors.Is(err, ErrClosed):
			ended[n].Add(1)
		case errors.Is(err, ErrTooManyKeys):
			full[n].Add(1)
		case errors.Is(err, errBroken):
			others[n].Add(1)
		default:
			t.Errorf("unexpected: %v", err)
		}
	}
	for u := range users {
		r := rand.New(rand.NewPCG(uint64(u), 7))
		all.Go(func() {
			for ctx.Err() == nil {
				n := min(r.IntN(keys), r.IntN(keys)) // some are wanted more
				key := fmt.Sprint(n)
				getCtx, stop := context.WithTimeout(ctx, time.Duration(r.IntN(200))*time.Millisecond)
				var c *Conn
				var err error
				switch r.IntN(10) {
				case 0:
					key, c, err = g.GetAny(getCtx, Pick(r.IntN(2)), key, fmt.Sprint(r.IntN(keys)), fmt.Sprint(r.IntN(keys)))
				case 1:
					c, err = g.Fresh(context.WithValue(getCtx, single{}, true), key)
				case 2:
					err = g.Do(getCtx, key, func(conn net.Conn) error {
						if _, err := askLine(conn, "in Do"); err != nil {
							return err
						}
						return failing(3)
					})
				default:
					c, err = g.Get(getCtx, key)
				}
				stop()
				note(n, err)
				if c == nil {
					continue
				}
				if answer, err := askLine(c, key); err != nil || answer != key {
					t.Errorf("%q, %v", answer, err)
				}
				switch r.IntN(12) {
				case 0:
					c.Close()
				case 1:
					g.Discard(c, errBroken)
				case 2:
					time.Sleep(time.Duration(r.IntN(10)) * time.Millisecond)
					g.Put(wrapper{c})
				case 3:
					c.spoil()
					g.Put(c)
					g.Put(c)
				default:
					g.Put(c)
				}
			}
		})
	}
	all.Go(func() { // who closes and drains
		for r := rand.New(rand.NewPCG(1, 9)); ctx.Err() == nil; {
			time.Sleep(time.Duration(r.IntN(5)) * time.Millisecond)
			key := fmt.Sprint(r.IntN(keys))
			if r.IntN(2) == 0 {
				g.Close(key)
				continue
			}
			drainCtx, stop := context.WithTimeout(ctx, time.Duration(r.IntN(5))*time.Millisecond)
			_ = g.Drain(drainCtx, key, fmt.Sprint(r.IntN(keys)))
			stop()
		}
	})
	all.Go(func() { // who looks: sums hold, and never run backwards
		var before Stats
		for ctx.Err() == nil {
			stats := g.Stats()
			now := stats.Sum
			switch {
			case now.Created != uint64(now.Idle+now.Checking+now.Out)+sumClosed(now):
				t.Errorf("created %d, idle %d, checking %d, out %d, closed %v", now.Created, now.Idle, now.Checking, now.Out, now.Closed)
			case now.Created < before.Created || sumClosed(now) < sumClosed(before) || now.Waits.Count() < before.Waits.Count():
				t.Errorf("%+v after %+v", now, before)
			case stats.Open > places || len(stats.Keys) > keys-5:
				t.Errorf("%d places, %d keys", stats.Open, len(stats.Keys))
			}
			before = now
			time.Sleep(200 * time.Microsecond)
		}
	})
	all.Wait()

	g.Close()
	s.running.Wait()
	require.Zero(t, s.open())
	require.Zero(t, o.now.Load())
	require.LessOrEqual(t, o.most.Load(), int64(places))
	require.EqualValues(t, places, o.most.Load(), "the bound was reached")
	requireSettled(t, g)
	require.Empty(t, g.leaving)
	require.Empty(t, g.rooms)
	stats := g.Stats()
	total := func(of *[keys]atomic.Int64) (sum int64) {
		for i := range of {
			sum += of[i].Load()
		}
		return sum
	}
	require.GreaterOrEqual(t, uint64(s.dials()), stats.Sum.Created+stats.Sum.SetupFailures)
	t.Logf("served %d, timeouts %d, closed %d, too many keys %d, template %d; %d dials, %d of them for one, closed %v, %d pools",
		total(&served), total(&timeouts), total(&ended), total(&full), total(&others), s.dials(), singles.Load(), stats.Sum.Closed, stats.Ended)
	for n := range keys / 5 { // those that are wanted most
		require.Positive(t, served[n].Load(), "key %d", n)
	}
	require.Positive(t, stats.Sum.Closed[ClosedMadeWay])
}

// single marks the context of a dial of Fresh.
type single struct{}

// TestGroupForgetsKeys: a hundred thousand keys that were used once leave nothing
// behind.
func TestGroupForgetsKeys(t *testing.T) {
	n := 100_000
	if testing.Short() || raceDetector {
		n = 20_000
	}
	g, err := NewGroup(GroupConfig{MaxOpen: 64, MaxKeys: 100, KeepUnused: 50 * time.Millisecond, New: func(string) (LocalConfig, error) {
		return LocalConfig{Dial: func(context.Context) (net.Conn, error) { return newIdleConn(), nil }}, nil
	}})
	require.NoError(t, err)
	defer g.Close()
	use := func(from, to int) {
		var all sync.WaitGroup
		var next atomic.Int64
		next.Store(int64(from))
		for range 8 {
			all.Go(func() {
				for i := next.Add(1); i <= int64(to); i = next.Add(1) {
					for {
						c, err := g.Get(context.Background(), fmt.Sprint("key ", i))
						if err == nil {
							g.Put(c)
							break
						}
						if !errors.Is(err, ErrTooManyKeys) {
							t.Error(err)
							break
						}
						time.Sleep(time.Millisecond)
					}
				}
			})
		}
		all.Wait()
		require.Eventually(t, func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return len(g.rooms)+len(g.leaving)+len(g.spent) == 0
		}, 30*time.Second, 10*time.Millisecond)
	}
	memory := func() (bytes uint64) {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	use(0, n/20) // so that what is kept once is there
	before, goroutines := memory(), runtime.NumGoroutine()
	use(n/20, n)
	after := memory()
	require.LessOrEqual(t, runtime.NumGoroutine(), goroutines+2)
	require.Less(t, after, before+1<<20)
	require.Zero(t, g.budget.places())
	stats := g.Stats()
	require.EqualValues(t, n, stats.Ended)
	require.EqualValues(t, n, stats.Sum.HandedOut)
	require.Equal(t, stats.Sum.Created, sumClosed(stats.Sum))
	t.Logf("%d keys: heap %d KiB before, %d KiB after; %d goroutines", n, before>>10, after>>10, runtime.NumGoroutine())
}
