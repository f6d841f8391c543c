package metrics

import (
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// TestCollector: what a pool did is what a scrape tells, and it tells it also when
// the pool is closed.
func TestCollector(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p, err := pool.NewServer(pool.ServerConfig{Listener: l})
	require.NoError(t, err)
	defer p.Close()
	_, _, err = p.ServerGet(30 * time.Millisecond)
	require.ErrorIs(t, err, pool.ErrTimeout)
	c := NewCollector(p, nil)
	problems, err := testutil.CollectAndLint(c)
	require.NoError(t, err)
	require.Empty(t, problems)
	for name, want := range map[string]float64{
		"tunnelpool_pool_misses_total": 1, "tunnelpool_pool_timeouts_total": 1, "tunnelpool_pool_hits_total": 0,
		"tunnelpool_pool_capacity_connections": 1024,
	} {
		require.Equal(t, want, value(t, c, name), name)
	}
	waits := family(t, c, "tunnelpool_pool_wait_seconds").GetMetric()[0].GetHistogram()
	require.EqualValues(t, 1, waits.GetSampleCount())
	require.GreaterOrEqual(t, waits.GetSampleSum(), 0.03)
	for _, b := range waits.GetBucket() {
		want := uint64(0)
		if b.GetUpperBound() >= waits.GetSampleSum() {
			want = 1
		}
		require.Equal(t, want, b.GetCumulativeCount(), "up to %v s", b.GetUpperBound())
	}
	p.Close()
	require.Equal(t, 1.0, value(t, c, "tunnelpool_pool_misses_total"))
}

// TestSeveralPools: labels tell them apart in one registry.
func TestSeveralPools(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	for _, name := range []string{"a", "b"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		p, err := pool.NewServer(pool.ServerConfig{Listener: l})
		require.NoError(t, err)
		defer p.Close()
		require.NoError(t, r.Register(NewCollector(p, prometheus.Labels{"pool": name})))
	}
	n, err := testutil.GatherAndCount(r, "tunnelpool_pool_idle_connections")
	require.NoError(t, err)
	require.Equal(t, 2, n)
}
