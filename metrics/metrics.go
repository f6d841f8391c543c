// Package metrics shows a pool to Prometheus. It is a package of its own so that
// who uses the pool alone does not get a client of Prometheus with it.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/poolmetrics"
)

type collector struct {
	pool    *pool.Pool
	metrics *poolmetrics.Metrics
}

// NewCollector returns a collector of p's state and counters, to be registered
// with a [prometheus.Registerer]; docs/MONITORING.md lists its metrics. Where there
// are several pools, labels tell them apart; nil otherwise. A collection takes one
// [pool.Pool.Stats], whatever the number of connections, and may go on after p was
// closed.
func NewCollector(p *pool.Pool, labels prometheus.Labels) prometheus.Collector {
	return &collector{p, poolmetrics.New(nil, labels)}
}

func (c *collector) Describe(to chan<- *prometheus.Desc) { c.metrics.Describe(to) }

func (c *collector) Collect(to chan<- prometheus.Metric) { c.metrics.Collect(to, c.pool.Stats()) }
