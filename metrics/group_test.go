package metrics

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// newGroup is a group of pools to a server that says nothing, closed when the test
// ends.
func newGroup(t *testing.T, cfg pool.GroupConfig) *pool.Group {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg.New = func(string) (pool.LocalConfig, error) {
		return pool.LocalConfig{Address: l.Addr().String(), Limits: pool.Limits{MinCap: -1}}, nil
	}
	g, err := pool.NewGroup(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		g.Close()
		l.Close()
	})
	return g
}

func use(t *testing.T, g *pool.Group, key string) {
	t.Helper()
	require.NoError(t, g.Do(context.Background(), key, func(net.Conn) error { return nil }))
}

// TestGroupCollector: each key by its label, and all together, also those that are
// gone.
func TestGroupCollector(t *testing.T) {
	g := newGroup(t, pool.GroupConfig{MaxOpen: 5})
	c := NewGroupCollector(g, prometheus.Labels{"group": "outbound"})
	use(t, g, "a")
	use(t, g, "b")
	use(t, g, "gone")
	use(t, g, "no \xff text")
	g.Close("gone")
	problems, err := testutil.CollectAndLint(c)
	require.NoError(t, err)
	require.Empty(t, problems)
	for name, want := range map[string]float64{
		"tunnelpool_group_keys": 3, "tunnelpool_group_unlisted_keys": 1, "tunnelpool_group_open_connections": 3,
		"tunnelpool_group_ended_pools_total": 1, "tunnelpool_group_created_connections_total": 4, "tunnelpool_group_idle_connections": 3,
	} {
		require.Equal(t, want, value(t, c, name), name)
	}
	var keys []string
	for _, m := range family(t, c, "tunnelpool_pool_created_connections_total").GetMetric() {
		require.Equal(t, 1.0, m.GetCounter().GetValue())
		require.Equal(t, "group", m.GetLabel()[0].GetName())
		require.Equal(t, "key", m.GetLabel()[1].GetName())
		keys = append(keys, m.GetLabel()[1].GetValue())
	}
	require.Equal(t, []string{"a", "b"}, keys)
}

// TestGroupCollectorBoundsKeys: a key that has metrics keeps them, and the others
// are counted.
func TestGroupCollectorBoundsKeys(t *testing.T) {
	c := NewGroupCollector(newGroup(t, pool.GroupConfig{}), nil).(*groupCollector)
	keys := map[string]pool.Stats{}
	for i := range maxKeys {
		keys[fmt.Sprintf("late %d", i)] = pool.Stats{}
	}
	first := c.list(keys)
	require.Len(t, first, maxKeys)
	keys["early"] = pool.Stats{}
	require.Equal(t, first, c.list(keys))
	delete(keys, first[7])
	require.Contains(t, c.list(keys), "early")
	require.Len(t, c.list(keys), maxKeys)
	require.Len(t, c.listed, maxKeys)
}
