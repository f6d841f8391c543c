package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestErrorsAreWhatCallersTestFor(t *testing.T) {
	for _, err := range []error{ErrClosed, fmt.Errorf("get: %w", ErrClosed)} {
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, ErrTimeout)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
	}
	for _, err := range []error{ErrTimeout, fmt.Errorf("get: %w", ErrTimeout)} {
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, ErrClosed)
		require.NotErrorIs(t, err, context.Canceled)
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		require.True(t, timeout.Timeout())
	}
}

func TestErrorCountIsTheCallers(t *testing.T) {
	p := newServerCore(t, 1)
	_, _, err := p.ServerGet(0)
	require.Error(t, err)
	require.Zero(t, p.ErrorCount())
	p.AddError()
	p.AddError()
	require.Equal(t, 2, p.ErrorCount())
	p.ResetError()
	require.Zero(t, p.ErrorCount())
}

func TestStateOfAFreshPool(t *testing.T) {
	server := newServerCore(t, 0)
	require.True(t, server.Ready())
	require.NoError(t, server.Err())
	require.Equal(t, defaultServerCap, server.Capacity())
	require.Zero(t, server.Interval())
	client := newClientCore(t, 0)
	require.True(t, client.Ready())
	require.NoError(t, client.Err())
	require.Equal(t, defaultMinCap, client.Capacity())
	require.Equal(t, defaultMinInterval, client.Interval())
	require.Zero(t, client.Active())
	client.Demand(0)
	server.Demand(5)
}

func TestClean(t *testing.T) {
	p := newServerCore(t, 8)
	_, first := admit(t, p)
	_, second := admit(t, p)
	c := mustGet(t, p) // the second
	p.Clean()
	requireEnded(t, first)
	require.Zero(t, p.Active())
	requireEcho(t, c, second)
	p.Put(c.ID(), c)
	require.Equal(t, 1, p.Active())
	require.Equal(t, map[CloseReason]uint64{ClosedCleaned: 1}, p.Stats().Closed)
	require.True(t, p.Ready())
}

func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServerCore(t, 8)
		_, first := admit(t, p)
		id, second := admit(t, p)
		c := mustGet(t, p)
		taker := laterTake(p, id)
		failed := make(chan error, 1)
		go func() { // ends with Flush
			_, err := c.Read(make([]byte, 1))
			failed <- err
		}()
		synctest.Wait()
		p.Flush()
		require.Error(t, <-failed)
		require.ErrorIs(t, (<-taker).err, ErrNotFound)
		requireEnded(t, first)
		requireEnded(t, second)
		requireDead(t, c)
		p.Put(id, c)
		require.Equal(t, map[CloseReason]uint64{ClosedCleaned: 2}, p.Stats().Closed)
		require.True(t, p.Ready())
		admit(t, p)
		require.Equal(t, 1, p.Active())
	})
}

func TestDrainWaitsForHolders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServerCore(t, 8)
		_, idle := admit(t, p)
		id, peer := admit(t, p)
		_, otherPeer := admit(t, p)
		other, c := mustGet(t, p), mustGet(t, p)
		taker := laterTake(p, id)
		drained := make(chan error, 2)
		for range 2 {
			go func() { drained <- p.Drain(context.Background()) }() // ends with the last return
		}
		synctest.Wait()
		requireEnded(t, idle)
		require.ErrorIs(t, (<-taker).err, ErrClosed)
		require.Empty(t, drained)
		require.False(t, p.Ready())
		require.ErrorIs(t, p.Err(), ErrClosed)
		_, _, err := p.ServerGet(time.Hour)
		require.ErrorIs(t, err, ErrClosed)
		require.ErrorIs(t, p.Run(t.Context()), ErrClosed)
		_, conn := net.Pipe()
		require.ErrorIs(t, p.Admit(t.Context(), conn), ErrClosed)

		requireEcho(t, c, peer)
		p.Put(id, c)
		requireEnded(t, peer)
		synctest.Wait()
		require.Empty(t, drained)
		other.Close()
		requireEnded(t, otherPeer)
		require.NoError(t, <-drained)
		require.NoError(t, <-drained)
		require.NoError(t, p.Drain(t.Context()), "a drained pool is drained")
		require.Equal(t, map[CloseReason]uint64{ClosedShutdown: 2, ClosedByHolder: 1}, p.Stats().Closed)
	})
}

func TestDrainGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServerCore(t, 8)
		_, peer := admit(t, p)
		c := mustGet(t, p)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		require.ErrorIs(t, p.Drain(ctx), ErrTimeout)
		requireEcho(t, c, peer)
		p.Close()
		requireEcho(t, c, peer)
		spent, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, p.Drain(spent), context.Canceled)
		p.Flush()
		requireEnded(t, peer)
		require.NoError(t, p.Drain(t.Context()))
	})
}

// TestDrainOfARunningPool: Run outlasts the drain, however that ends, and no
// longer.
func TestDrainOfARunningPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		p := keep(t)(NewServer(ServerConfig{Listener: l, TLS: TLSPlain}))
		ended := make(chan error, 1)
		go func() { ended <- p.Run(context.Background()) }() // ends with the drain
		peer := l.dial("")
		_, err := peer.Read(make([]byte, idSize))
		require.NoError(t, err)
		c := mustGet(t, p)
		go p.Drain(context.Background()) // ends with Close of c
		synctest.Wait()
		_, err = l.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
		require.Empty(t, ended)
		c.Close()
		require.NoError(t, <-ended)
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, p := range []*Pool{newServerCore(t, 8), newClientCore(t, 8)} {
			waiters := []<-chan got{laterGet(p), laterGet(p), laterTake(p, "AAAAAAAA"), laterTake(p, "AAAAAAAA")}
			var closing sync.WaitGroup
			for range 10 {
				closing.Go(p.Close)
			}
			closing.Wait()
			for _, w := range waiters {
				require.ErrorIs(t, (<-w).err, ErrClosed)
			}
			requireClosed(t, p, ErrClosed)
		}
	})
}

// requireClosed checks that everything answers want, at once.
func requireClosed(t *testing.T, p *Pool, want error) {
	t.Helper()
	start := time.Now()
	require.ErrorIs(t, p.Err(), want)
	require.False(t, p.Ready())
	spent, cancel := context.WithCancel(t.Context())
	cancel()
	for _, ctx := range []context.Context{t.Context(), spent} {
		_, err := p.Get(ctx)
		require.ErrorIs(t, err, want)
		_, err = p.Take(ctx, ID([]byte("AAAAAAAA")))
		require.ErrorIs(t, err, want)
		_, err = p.Take(ctx, ID{})
		require.ErrorIs(t, err, want)
	}
	for _, wait := range []time.Duration{0, time.Hour} {
		_, _, err := p.ServerGet(wait)
		require.ErrorIs(t, err, want)
		_, _, err = p.IncomingGet(wait)
		require.ErrorIs(t, err, want)
		_, err = p.OutgoingGet("AAAAAAAA", wait)
		require.ErrorIs(t, err, want)
	}
	for _, id := range []string{"AAAAAAAA", "malformed"} {
		c, err := p.ClientGet(id)
		require.ErrorIs(t, err, want)
		require.Nil(t, c)
	}
	require.ErrorIs(t, p.Run(t.Context()), want)
	require.Zero(t, p.Active())
	p.ClientManager()
	p.ServerManager()
	p.Clean()
	p.Flush()
	p.Demand(3)
	p.Close()
	require.NoError(t, p.Drain(t.Context()))
	require.Zero(t, time.Since(start), "it was not at once")
}

func TestRunIsOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := run(t, newServerCore(t, 1)) // without a listener there is the sweeper
		synctest.Wait()
		require.ErrorContains(t, p.Run(t.Context()), "under way")
		require.True(t, p.Ready())
	})
}

func TestRunClosesWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		server := keep(t)(NewServer(ServerConfig{Listener: l, TLS: TLSPlain}))
		for _, p := range []*Pool{server, newClientCore(t, 1), newServerCore(t, 1)} {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- p.Run(ctx) }() // ends with ctx
			synctest.Wait()
			waiter := laterGet(p)
			cancel()
			require.NoError(t, <-ended)
			require.ErrorIs(t, (<-waiter).err, ErrClosed)
			requireClosed(t, p, ErrClosed)
		}
		_, err := l.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

func TestRunTellsWhenTheListenerIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		p := keep(t)(NewServer(ServerConfig{Listener: l, TLS: TLSPlain}))
		ended := make(chan error, 1)
		go func() { ended <- p.Run(context.Background()) }() // ends with the listener
		synctest.Wait()
		l.Close()
		err := <-ended
		require.ErrorIs(t, err, net.ErrClosed)
		require.NotErrorIs(t, err, ErrClosed)
		require.True(t, p.Ready())
		admit(t, p)
		require.Equal(t, 1, p.Active())
	})
}

func TestConfigsThatCannotWork(t *testing.T) {
	dial := func(context.Context) (net.Conn, error) { return nil, errors.New("unused") }
	for field, cfg := range map[string]ClientConfig{
		"Dial":           {},
		"Security: TLS":  {Dial: dial, Security: Security{TLS: "9"}},
		"ServerName":     {Dial: dial, Security: Security{TLS: TLSVerified}},
		"MinCap is -1":   {Dial: dial, Limits: Limits{MinCap: -1}},
		"MinCap 9":       {Dial: dial, Limits: Limits{MinCap: 9, MaxCap: 8}},
		"PairTimeout":    {Dial: dial, PairTimeout: -1},
		"MinInterval 2s": {Dial: dial, MinInterval: 2 * time.Second, MaxInterval: time.Second},
	} {
		_, err := NewClient(cfg)
		require.ErrorContains(t, err, "ClientConfig", field)
		require.ErrorContains(t, err, field)
	}
	l := newPipeListener()
	for field, cfg := range map[string]ServerConfig{
		"MaxCap":    {Limits: Limits{MaxCap: -1}},
		"TLS":       {Listener: l, TLS: "9"},
		"TLSConfig": {Listener: l, TLS: TLSVerified},
		"ClientIP":  {Listener: l, ClientIP: "example.com"},
	} {
		_, err := NewServer(cfg)
		require.ErrorContains(t, err, "ServerConfig")
		require.ErrorContains(t, err, field)
	}
	select {
	case <-l.closed:
		t.Fatal("the listener is the caller's when there is an error")
	default:
	}
}

func TestSmallCapacities(t *testing.T) {
	require.Equal(t, 3, newClientCore(t, 3).Capacity(), "MinCap follows a low MaxCap")
	p := keep(t)(NewClient(ClientConfig{
		Dial:   func(context.Context) (net.Conn, error) { return nil, errors.New("unused") },
		Limits: Limits{MinCap: 2 * defaultClientCap},
	}))
	require.Equal(t, 2*defaultClientCap, p.Capacity(), "MaxCap follows a high MinCap")
}
