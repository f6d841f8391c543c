package pool

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAcquireTimeout bounds every call that waits, beside its own bound.
func TestAcquireTimeout(t *testing.T) {
	long := func(f func(ctx context.Context) error) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		return f(ctx)
	}
	for name, wait := range map[string]func(p *Pool) error{
		"Get":       func(p *Pool) error { _, err := p.Get(context.Background()); return err },
		"Get, hour": func(p *Pool) error { return long(func(ctx context.Context) error { _, err := p.Get(ctx); return err }) },
		"Take":      func(p *Pool) error { _, err := p.Take(context.Background(), newID()); return err },
		"ServerGet": func(p *Pool) error { _, _, err := p.ServerGet(time.Hour); return err },
		"Request":   func(p *Pool) error { _, err := p.Request().Wait(context.Background()); return err },
		"Request, and a late Wait": func(p *Pool) error {
			r := p.Request()
			time.Sleep(8 * time.Second) // of the bubble's clock
			_, err := r.Wait(context.Background())
			return err
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newLimitedCore(t, Limits{AcquireTimeout: 10 * time.Second})
			start := time.Now()
			err := wait(p)
			require.ErrorIs(t, err, ErrTimeout, name)
			var timeout net.Error
			require.True(t, errors.As(err, &timeout) && timeout.Timeout(), name)
			require.Equal(t, 10*time.Second, time.Since(start), name)
			s := p.Stats()
			require.Zero(t, s.Waiting)
			require.EqualValues(t, 1, s.Timeouts)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		p := newLimitedCore(t, Limits{AcquireTimeout: 10 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := p.Get(ctx)
		require.ErrorIs(t, err, ErrTimeout)
		require.Equal(t, time.Second, time.Since(start), "the shorter one counts")

		r := p.Request()
		id, _ := admit(t, p)
		time.Sleep(time.Hour) // of the bubble's clock
		c, err := r.Wait(t.Context())
		require.NoError(t, err, "what came in time is the caller's, however late it asks")
		require.Equal(t, id, c.ID())
	})
}

// TestMaxWaiters: Gets and Takes together, and a place is free again whichever
// way one leaves.
func TestMaxWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		p := keep(t)(NewServer(ServerConfig{Limits: Limits{MaxWaiters: 3}, OnWait: func(int) { told++ }}))
		ctx, cancel := context.WithCancel(t.Context())
		first := later(func() (*Conn, error) { return p.Get(ctx) })
		id := newID()
		taker := later(func() (*Conn, error) { return p.Take(ctx, id) })
		second := laterGet(p)
		crowded := func() {
			t.Helper()
			start := time.Now()
			_, err := p.Get(t.Context())
			require.ErrorIs(t, err, ErrTooManyWaiters)
			_, err = p.Take(t.Context(), id)
			require.ErrorIs(t, err, ErrTooManyWaiters)
			_, err = p.Request().Wait(t.Context())
			require.ErrorIs(t, err, ErrTooManyWaiters)
			_, _, err = p.ServerGet(time.Hour)
			require.ErrorIs(t, err, ErrTooManyWaiters)
			_, _, err = p.ServerGet(0)
			require.ErrorIs(t, err, ErrTimeout, "who does not wait is not one too many")
			require.Zero(t, time.Since(start))
			require.Equal(t, 3, p.Stats().Waiting)
			require.EqualValues(t, p.Stats().Waiting, len(p.waitingCheck()))
		}
		crowded()
		require.Equal(t, 2, told, "nobody is asked for those who do not wait")

		admit(t, p)
		require.NoError(t, (<-first).err)
		third := laterGet(p)
		crowded()

		cancel() // the taker leaves
		require.ErrorIs(t, (<-taker).err, context.Canceled)
		fourth := laterGet(p)
		crowded()

		p.Close()
		for _, w := range []<-chan got{second, third, fourth} {
			require.ErrorIs(t, (<-w).err, ErrClosed)
		}
		require.Zero(t, p.Stats().Waiting)
	})
}

// waitingCheck counts the waiters one by one.
func (p *Pool) waitingCheck() (all []*waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := p.waiters.head; w != nil; w = w.next {
		all = append(all, w)
	}
	for _, q := range p.takers {
		for w := q.head; w != nil; w = w.next {
			all = append(all, w)
		}
	}
	return all
}

// TestFailWhenFull: at once, and only when nothing can come but from a holder.
func TestFailWhenFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLimitedCore(t, Limits{MaxOpen: 2, WhenFull: FailWhenFull})
		first, second := laterGet(p), laterGet(p) // there is room for two
		full := func() {
			t.Helper()
			_, err := p.Get(t.Context())
			require.ErrorIs(t, err, ErrFull)
			_, _, err = p.ServerGet(0)
			require.ErrorIs(t, err, ErrFull)
		}
		full()
		admit(t, p)
		full()
		admit(t, p)
		full()
		a, b := <-first, <-second
		require.NoError(t, a.err)
		require.NoError(t, b.err)
		p.Put(a.conn.ID(), a.conn)
		require.Equal(t, a.conn.ID(), mustGet(t, p).ID())
		full()
		b.conn.Close()
		waiter := laterGet(p) // the peer may bring another
		require.Equal(t, 1, p.Stats().Waiting)
		full()
		admit(t, p)
		require.NoError(t, (<-waiter).err)
	})
}

// TestFailWhenFullWhileDialing: who comes first may have what is being dialed.
func TestFailWhenFullWhileDialing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		var f farEnd
		f.answer = func(_ context.Context, n int) (net.Conn, error) {
			<-gate
			return f.connect(n), nil
		}
		p := f.newClientPool(t, ClientConfig{Reverse: true, HandshakeTimeout: time.Hour,
			Limits: Limits{MinCap: 2, MaxCap: 2, MaxOpen: 2, WhenFull: FailWhenFull}})
		synctest.Wait()
		require.Equal(t, 2, p.Stats().Dialing)
		first, second := laterGet(p), laterGet(p)
		_, err := p.Get(t.Context())
		require.ErrorIs(t, err, ErrFull)
		close(gate)
		require.NoError(t, (<-first).err)
		require.NoError(t, (<-second).err)
		_, err = p.Get(t.Context())
		require.ErrorIs(t, err, ErrFull)
		require.Equal(t, 2, f.count())
	})
}

// TestMaxOpenOfAServer: those in holders' hands count.
func TestMaxOpenOfAServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLimitedCore(t, Limits{MaxCap: 8, MaxOpen: 3})
		for range 3 {
			admit(t, p)
		}
		held := mustGet(t, p)
		mustGet(t, p)
		refused := func() {
			t.Helper()
			peer, conn := net.Pipe()
			require.ErrorIs(t, p.Admit(t.Context(), conn), ErrFull)
			requireEnded(t, peer)
		}
		refused()
		laterGet(p)
		laterGet(p) // there is no room for whom they wait for
		refused()
		require.EqualValues(t, 2, p.Stats().Rejected[RejectFull])
		held.Close()

		peer, conn := net.Pipe() // told its ID, and not in yet
		admitted := make(chan error, 1)
		go func() { admitted <- p.Admit(t.Context(), conn) }() // ends with the peer's
		synctest.Wait()
		refused()
		peer.Close()
		require.Error(t, <-admitted)
		admit(t, p)
		require.EqualValues(t, 3, p.Stats().Rejected[RejectFull])
	})
}
