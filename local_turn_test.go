package pool

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFailedCheckKeepsTurn: who waited for a connection that then fails its check is
// served before those who came later, also before those who fill the queue.
func TestFailedCheckKeepsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		verdict := make(chan error)
		s := newLineServer(t, nil)
		p := newLocal(t, nil, LocalConfig{
			Dial: func(ctx context.Context) (net.Conn, error) {
				time.Sleep(time.Millisecond) // as a dial takes longer than to queue again
				return s.dial(ctx)
			},
			Limits: Limits{MaxOpen: 1, MaxWaiters: 1}, CheckAtGet: -1, CheckEvery: -1,
			Check: func(context.Context, *Conn) error { return <-verdict },
		})
		first := laterGet(p)
		verdict <- nil
		c := (<-first).conn
		a := laterGet(p)
		time.Sleep(time.Second)
		p.Put(c.ID(), c) // to a, who has it checked
		b := laterGet(p)
		_, err := p.Get(t.Context())
		require.ErrorIs(t, err, ErrTooManyWaiters)
		verdict <- errBroken
		verdict <- nil // of the new one
		synctest.Wait()
		require.Empty(t, b)
		require.Len(t, a, 1)
		g := <-a
		require.NoError(t, g.err, "nobody is sent away who was let in")
		c = g.conn
		p.Put(c.ID(), c)
		verdict <- nil
		c = (<-b).conn
		c.Close()
	})
}

// TestAcquireTimeoutBoundsAll: it bounds checks and dials for a getter as well as
// waiting, all together; and what it cuts short is no failure of the server's.
func TestAcquireTimeoutBoundsAll(t *testing.T) {
	hang := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	check := LocalConfig{
		Limits: Limits{MinCap: 3, MaxOpen: 3, AcquireTimeout: 3 * time.Second}, CheckTimeout: 2 * time.Second,
		CheckAtGet: -1, CheckEvery: -1, Check: func(ctx context.Context, _ *Conn) error { return hang(ctx) },
	}
	for name, get := range map[string]func(*Pool) error{
		"Get":                       func(p *Pool) error { _, err := p.Get(context.Background()); return err },
		"ServerGet":                 func(p *Pool) error { _, _, err := p.ServerGet(time.Hour); return err },
		"ServerGet without waiting": func(p *Pool) error { _, _, err := p.ServerGet(0); return err },
		"Request":                   func(p *Pool) error { _, err := p.Request().Wait(context.Background()); return err },
	} {
		t.Run("checks, "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newLocal(t, newLineServer(t, nil), check)
				require.NoError(t, p.WaitReady(t.Context(), 3))
				began := time.Now()
				require.ErrorIs(t, get(p), ErrTimeout)
				require.Equal(t, 3*time.Second, time.Since(began))
				stats := p.Stats()
				require.EqualValues(t, 2, stats.Checks)
				require.EqualValues(t, 1, stats.CheckFailures, "the second check was not to its end")
				require.Zero(t, stats.Out)
			})
		})
	}
	t.Run("a timeout of the caller's", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newLocal(t, newLineServer(t, nil), check)
			require.NoError(t, p.WaitReady(t.Context(), 3))
			began := time.Now()
			_, _, err := p.ServerGet(time.Second)
			require.ErrorIs(t, err, ErrTimeout)
			require.Equal(t, time.Second, time.Since(began))
			_, err = p.OutgoingGet(localID(2).String(), time.Second)
			require.ErrorIs(t, err, ErrTimeout, "the connection is gone, and who asked does not know")
			require.Equal(t, 2*time.Second, time.Since(began))
			require.Zero(t, p.Stats().CheckFailures)
		})
	})
	t.Run("a dial beyond MaxOpen", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newLineServer(t, nil)
			p := newLocal(t, nil, LocalConfig{
				Limits: Limits{MaxOpen: 1, AcquireTimeout: 3 * time.Second, WhenFull: OverflowWhenFull},
				Dial: func(ctx context.Context) (net.Conn, error) {
					if s.dials() > 0 {
						return nil, hang(ctx)
					}
					return s.dial(ctx)
				},
			})
			c := mustGet(t, p)
			began := time.Now()
			_, err := p.Get(context.Background())
			require.ErrorIs(t, err, ErrTimeout)
			require.Equal(t, 3*time.Second, time.Since(began))
			c.Close()
		})
	})
}

// TestTooLateForACheck: a connection that comes when its getter's time is over is
// left as it is, and as unproven as it was.
func TestTooLateForACheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLineServer(t, nil)
		p := newLocal(t, s, LocalConfig{Limits: Limits{MaxOpen: 1}, CheckAtGet: time.Second, CheckEvery: -1, Check: saying("ping")})
		p.Put(mustPut(t, p))
		time.Sleep(2 * time.Second)
		r := p.Request()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := r.Wait(ctx)
		require.ErrorIs(t, err, context.Canceled)
		c, w, err := p.popOrWait(true, time.Time{})
		require.NoError(t, err)
		_, err = p.settle(ctx, asLong, c, w, err)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 1, p.Active())
		require.Zero(t, s.heardOf("ping"))
		c = mustGet(t, p)
		require.Equal(t, 1, s.heardOf("ping"))
		require.Equal(t, 1, s.dials())
		c.Close()
	})
}
