package pool

import (
	"context"
	"errors"
	"math"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestHugeBounds: bounds that are meant for none do not keep takers waiting.
func TestHugeBounds(t *testing.T) {
	for name, limits := range map[string]Limits{
		"MaxOpen": {MaxOpen: math.MaxInt},
		"MaxCap":  {MaxCap: math.MaxInt, MaxOpen: -1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newLocal(t, newLineServer(t, nil), LocalConfig{Limits: limits})
				for range 5 {
					defer mustGet(t, p).Close()
				}
			})
		})
	}
}

// TestRunOfALocalPool: it runs by itself, so that nobody else's Run, and the end of
// its context, is the pool's.
func TestRunOfALocalPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 10 {
			p := newLocal(t, newLineServer(t, nil), LocalConfig{})
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			require.ErrorContains(t, p.Run(ctx), "already")
			mustGet(t, p).Close()
		}
	})
}

// TestNoConnection: what a getter that failed returned may be put back and
// discarded without a look at its error.
func TestNoConnection(t *testing.T) {
	p, err := NewLocal(LocalConfig{Address: "127.0.0.1:1"})
	require.NoError(t, err)
	defer p.Close()
	g, err := NewGroup(GroupConfig{New: func(string) (LocalConfig, error) { return LocalConfig{}, errBroken }})
	require.NoError(t, err)
	defer g.Close()
	none, err := g.Get(t.Context(), "key")
	require.ErrorIs(t, err, errBroken)
	g.Put(none)
	g.Discard(none, err)
	p.Put("", none)
	p.Discard("", none, err)
	_, ok := ValueOf[int](none)
	require.False(t, ok)
}

// TestTimeoutsSayOfWhat: only who waits for a connection is told that he did.
func TestTimeoutsSayOfWhat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context, _ *Conn) error { <-ctx.Done(); return ctx.Err() }
		p := newLocal(t, newLineServer(t, nil), LocalConfig{Setup: hang, ConnectTimeout: time.Second})
		_, err := p.Fresh(t.Context())
		require.EqualError(t, err, "set up the connection to pipe: not done in time")
		requireTimeout(t, err)

		q := newLocal(t, newLineServer(t, nil), LocalConfig{})
		defer mustGet(t, q).Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = q.Drain(ctx)
		require.EqualError(t, err, "connections still in holders' hands: 1: timed out")
		requireTimeout(t, err)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = p.WaitReady(ctx, 1)
		require.ErrorContains(t, err, "0 of 1 connections are ready: timed out; the last dial failed: set up")
		requireTimeout(t, err)
	})
}

// requireTimeout holds that err is a timeout to whoever asks.
func requireTimeout(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, ErrTimeout)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	var timeout net.Error
	require.True(t, errors.As(err, &timeout) && timeout.Timeout())
}

// TestErrorsSayWhatToDo: a configuration is refused in the words of who wrote it.
func TestErrorsSayWhatToDo(t *testing.T) {
	for text, cfg := range map[string]LocalConfig{
		`pool: LocalConfig.Address: "/run/app.sock" is a path; set Network to "unix"`: {Address: "/run/app.sock"},
		"pool: LocalConfig.MinCap 5 exceeds MaxOpen 3":                                {Address: "a:1", Limits: Limits{MinCap: 5, MaxOpen: 3}},
		"pool: LocalConfig.MinCap 5 exceeds MaxCap 3":                                 {Address: "a:1", Limits: Limits{MinCap: 5, MaxCap: 3}},
	} {
		_, err := NewLocal(cfg)
		require.EqualError(t, err, text)
	}
	_, err := configFromEnv("X", []string{"X_ADDRESS=/run/app.sock"})
	require.EqualError(t, err, `pool: X_ADDRESS is "/run/app.sock", a path, for which …_NETWORK must be unix; otherwise it must be host:port`)
}
