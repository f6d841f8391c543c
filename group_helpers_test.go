package pool

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// newGroup makes a group of pools to a server, closed and its books checked when
// the test ends. template, which may be nil, is what all keys have.
func newGroup(t testing.TB, s *lineServer, cfg GroupConfig, template LocalConfig) *Group {
	t.Helper()
	if cfg.New == nil {
		cfg.New = func(string) (LocalConfig, error) {
			local := template
			local.Dial = s.dial
			return local, nil
		}
	}
	g, err := NewGroup(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		g.Close()
		if s != nil {
			s.running.Wait()
			require.Zero(t, s.open())
		}
		requireSettled(t, g)
	})
	return g
}

// requireSettled checks the books of a group whose connections are all back, and
// that is closed.
func requireSettled(t testing.TB, g *Group) {
	t.Helper()
	stats := g.Stats()
	require.Empty(t, stats.Keys)
	require.Zero(t, stats.Open, "places of the budget")
	require.Zero(t, stats.Sum.Idle+stats.Sum.Out+stats.Sum.Checking+stats.Sum.Dialing+stats.Sum.Waiting)
	require.Equal(t, stats.Sum.Created, sumClosed(stats.Sum))
	if b := g.budget; b != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		require.Zero(t, b.wanted)
		require.Zero(t, b.leaving)
		require.Empty(t, b.wanting)
		require.Nil(t, b.lru.oldest)
		require.Nil(t, b.lru.youngest)
	}
}

func mustGetKey(t testing.TB, g *Group, key string) *Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := g.Get(ctx, key)
	require.NoError(t, err)
	return c
}

// laterKey is laterGet for a key of a group.
func laterKey(g *Group, key string) <-chan got {
	return later(func() (*Conn, error) { return g.Get(context.Background(), key) })
}

// mustCome is the connection that a get in the background brings.
func mustCome(t testing.TB, from <-chan got) *Conn {
	t.Helper()
	g := <-from
	require.NoError(t, g.err)
	return g.conn
}

// inBubble runs a test with a server in memory.
func inBubble(t *testing.T, test func(t *testing.T, s *lineServer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newLineServer(t, nil)) })
}
