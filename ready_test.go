package pool

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// readyLater starts a WaitReady in a bubble and returns when it waits, or is done.
func readyLater(ctx context.Context, p *Pool, n int) <-chan error {
	result := make(chan error, 1)
	go func() { result <- p.WaitReady(ctx, n) }() // ends with ctx or the pool
	synctest.Wait()
	return result
}

func requireWaits(t *testing.T, result <-chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-result:
		t.Fatalf("it is over: %v", err)
	default:
	}
}

// TestWaitReady: each caller for its own number, idle at once.
func TestWaitReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServerCore(t, 4)
		require.NoError(t, p.WaitReady(t.Context(), 0))
		four, two, alsoTwo, three := readyLater(t.Context(), p, 4), readyLater(t.Context(), p, 2),
			readyLater(t.Context(), p, 2), readyLater(t.Context(), p, 3)
		admit(t, p)
		requireWaits(t, two)
		c := mustGet(t, p)
		admit(t, p)
		requireWaits(t, two)
		p.Put(c.ID(), c)
		require.NoError(t, <-two)
		require.NoError(t, <-alsoTwo)
		requireWaits(t, three)
		require.NoError(t, p.WaitReady(t.Context(), 2))
		admit(t, p)
		require.NoError(t, <-three)
		requireWaits(t, four)
		admit(t, p)
		require.NoError(t, <-four)
		require.Empty(t, p.readying)
		require.Zero(t, p.Stats().Waited, "nobody waited for a connection")
	})
}

// TestWaitReadyAims: a dialing pool makes them at once, whatever its capacity.
func TestWaitReadyAims(t *testing.T) {
	for name, cfg := range map[string]ClientConfig{
		"eager":    {},
		"overflow": {Overflow: true},
		"slow":     {MinInterval: time.Minute, MaxInterval: time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			var f farEnd
			cfg.Limits = Limits{MinCap: 1, MaxCap: 50, MaxOpen: 40}
			p := f.newClientPool(t, cfg)
			synctest.Wait()
			require.Equal(t, 1, p.Active())
			start := time.Now()
			more := readyLater(t.Context(), p, 40)
			require.NoError(t, p.WaitReady(t.Context(), 30))
			require.NoError(t, <-more)
			require.Equal(t, 40, f.count())
			require.Less(t, time.Since(start), 2*time.Second, name)
			require.Equal(t, 1, p.Capacity(), "nobody needed them yet")

			held := mustGet(t, p)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			require.ErrorContains(t, p.WaitReady(ctx, 40), "39 of 40", "MaxOpen holds")
			more = readyLater(t.Context(), p, 40)
			p.Put(held.ID(), held)
			require.NoError(t, <-more)
			require.Equal(t, 40, f.count())
		})
	}
}

func TestWaitReadyBeyondTheBounds(t *testing.T) {
	for _, l := range []Limits{{MaxCap: 3}, {MaxIdle: 3}, {MaxOpen: 3}} {
		p := newLimitedCore(t, l)
		require.ErrorContains(t, p.WaitReady(t.Context(), 4), "at most 3")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, p.WaitReady(ctx, 3), context.Canceled)
	}
}

// TestWaitReadySaysWhy: how many there were, and what the last dial met.
func TestWaitReadySaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := farEnd{}
		p := f.newClientPool(t, ClientConfig{Limits: Limits{MinCap: 2, MaxCap: 9}})
		synctest.Wait()
		f.script(refuse)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := p.WaitReady(ctx, 5)
		require.ErrorIs(t, err, ErrTimeout)
		require.ErrorIs(t, err, errNoRoute)
		require.EqualError(t, err, "2 of 5 connections are ready: timed out; the last dial failed: no route to the server")

		f.script(nil)
		require.NoError(t, p.WaitReady(t.Context(), 5), "it tries on")
		f.script(hang)
		over, end := context.WithCancelCause(t.Context())
		result := readyLater(over, p, 6)
		end(errNoRoute)
		require.EqualError(t, <-result, "5 of 6 connections are ready: no route to the server")
		require.Empty(t, p.readying)
	})
}

// TestWaitReadyEndsWithThePool, by Close and by Drain.
func TestWaitReadyEndsWithThePool(t *testing.T) {
	for _, end := range []func(*Pool){(*Pool).Close, func(p *Pool) { p.Drain(context.Background()) }} {
		synctest.Test(t, func(t *testing.T) {
			p := newServerCore(t, 8)
			admit(t, p)
			a, b := readyLater(t.Context(), p, 2), readyLater(t.Context(), p, 8)
			end(p)
			require.ErrorIs(t, <-a, ErrClosed)
			require.ErrorIs(t, <-b, ErrClosed)
			require.ErrorIs(t, p.WaitReady(t.Context(), 1), ErrClosed)
			require.ErrorIs(t, p.WaitReady(t.Context(), 0), ErrClosed)
		})
	}
	require.ErrorIs(t, NewClientPool(1, 1, 0, 0, 0, "9", "", nil).WaitReady(t.Context(), 1), ErrTLSMode)
}

// TestWaitReadyAmongTakers: many callers, and holders that take and put back.
func TestWaitReadyAmongTakers(t *testing.T) {
	p := newServerCore(t, 8)
	for range 8 {
		go p.Admit(context.Background(), newIdleConn()) // ends at once: it takes all bytes
	}
	var users sync.WaitGroup
	for i := range 32 {
		users.Go(func() {
			for n := range 200 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(n)*time.Microsecond)
				if i%2 == 0 {
					p.WaitReady(ctx, 1+n%8)
				} else if c, err := p.Get(ctx); err == nil {
					p.Put(c.ID(), c)
				}
				cancel()
			}
		})
	}
	users.Wait()
	require.NoError(t, p.WaitReady(t.Context(), 8))
	require.Empty(t, p.readying)
}

// TestWaitReadyAfterACheck: a connection that is being checked is not ready, and is
// as soon as it has passed.
func TestWaitReadyAfterACheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLocal(t, newLineServer(t, nil), LocalConfig{
			Limits: Limits{MinCap: 2, MaxOpen: 2}, CheckEvery: 10 * time.Second,
			Check: func(context.Context, *Conn) error {
				time.Sleep(time.Second) // of the bubble's clock
				return nil
			}})
		require.NoError(t, p.WaitReady(t.Context(), 2))
		time.Sleep(10*time.Second + time.Second/2)
		require.Equal(t, 1, p.Active())
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		require.Error(t, p.WaitReady(ctx, 3), "MaxOpen is 2")
		require.NoError(t, p.WaitReady(ctx, 2))
	})
}
