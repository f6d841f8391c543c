// Package poolmetrics makes Prometheus metrics of pool.Stats, for the library's
// collector and for the programs'.
package poolmetrics

import (
	"github.com/prometheus/client_golang/prometheus"

	pool "github.com/tunnelpool/pool"
)

// Metrics are those of pools that are told apart by labels.
type Metrics struct {
	idle, checking, out, waiting, capacity, interval, dialing, handshakes *prometheus.Desc
	created, acquired, acquiring, hits, misses, timeouts                  *prometheus.Desc
	dials, failures, setupFailures, checks, checkFailures                 *prometheus.Desc
	waits, closed, rejected                                               *prometheus.Desc
	all                                                                   []*prometheus.Desc
}

// New describes the metrics. Pools are told apart by the values of labels; fixed
// labels are the same for all.
func New(labels []string, fixed prometheus.Labels) *Metrics {
	return Named("tunnelpool_pool_", labels, fixed)
}

// Named is New for metrics whose names begin with prefix.
func Named(prefix string, labels []string, fixed prometheus.Labels) *Metrics {
	m := &Metrics{}
	desc := func(name, help string, more ...string) *prometheus.Desc {
		d := prometheus.NewDesc(prefix+name, help, append(append([]string{}, labels...), more...), fixed)
		m.all = append(m.all, d)
		return d
	}
	m.idle = desc("idle_connections", "Connections that are ready to be handed out.")
	m.checking = desc("checking_connections", "Idle connections that are being checked, of a single-ended pool.")
	m.out = desc("out_connections", "Connections in their holders' hands.")
	m.waiting = desc("waiting", "Takers who wait for a connection.")
	m.capacity = desc("capacity_connections", "Idle connections aimed at by a pool that dials, allowed by a server pool.")
	m.interval = desc("interval_seconds", "Time between the maintenance passes of a pool that dials; 0 of a server pool.")
	m.dialing = desc("dialing_connections", "Dials under way in a pool that dials.")
	m.handshakes = desc("handshaking_connections", "Connections between accept and admission, of a server pool with a listener.")
	m.created = desc("created_connections_total", "Connections that entered the pool.")
	m.acquired = desc("acquired_connections_total", "Times that a connection was handed out.")
	m.acquiring = desc("acquire_seconds_total", "Time from asking until then, of takers who did not find one idle, or whose connection was checked first.")
	m.hits = desc("hits_total", "Takers who found an idle connection.")
	m.misses = desc("misses_total", "Takers who found none.")
	m.timeouts = desc("timeouts_total", "Takers who waited and gave up.")
	m.dials = desc("dials_total", "Dials that brought a connection.")
	m.failures = desc("dial_failures_total", "Dials that did not.")
	m.setupFailures = desc("setup_failures_total", "Of those, the ones that Setup refused, of a single-ended pool.")
	m.checks = desc("checks_total", "Checks of connections.")
	m.checkFailures = desc("check_failures_total", "Of those, the ones that failed.")
	m.waits = desc("wait_seconds", "Time that takers waited who had to, in vain or not.")
	m.closed = desc("closed_connections_total", "Connections that left the pool.", "reason")
	m.rejected = desc("rejected_connections_total", "Connections that a server pool did not let in.", "reason")
	return m
}

// Describe is a Collector's.
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range m.all {
		to <- d
	}
}

// Collect sends the metrics of one pool. The values of labels must differ from
// those of others in the same collection.
func (m *Metrics) Collect(to chan<- prometheus.Metric, s pool.Stats, values ...string) {
	gauge := func(d *prometheus.Desc, v float64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, values...)
	}
	sum := func(d *prometheus.Desc, v float64, more ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, append(append([]string{}, values...), more...)...)
	}
	counter := func(d *prometheus.Desc, v uint64, more ...string) { sum(d, float64(v), more...) }
	gauge(m.idle, float64(s.Idle))
	gauge(m.checking, float64(s.Checking))
	gauge(m.out, float64(s.Out))
	gauge(m.waiting, float64(s.Waiting))
	gauge(m.capacity, float64(s.Capacity))
	gauge(m.interval, s.Interval.Seconds())
	gauge(m.dialing, float64(s.Dialing))
	gauge(m.handshakes, float64(s.Handshakes))
	counter(m.created, s.Created)
	counter(m.acquired, s.HandedOut)
	sum(m.acquiring, s.AcquireTime.Seconds())
	counter(m.hits, s.Hits)
	counter(m.misses, s.Misses)
	counter(m.timeouts, s.Timeouts)
	counter(m.dials, s.Dialed)
	counter(m.failures, s.DialFailures)
	counter(m.setupFailures, s.SetupFailures)
	counter(m.checks, s.Checks)
	counter(m.checkFailures, s.CheckFailures)
	to <- Histogram(m.waits, s.Waits, values...)
	for _, reason := range closeReasons {
		counter(m.closed, s.Closed[reason], string(reason))
	}
	counter(m.rejected, s.Rejected[pool.RejectFull], string(pool.RejectFull))
	for reason, n := range s.Rejected {
		if reason != pool.RejectFull {
			counter(m.rejected, n, string(reason))
		}
	}
}

// closeReasons are told from the start, so that a rate sees the first one.
var closeReasons = []pool.CloseReason{
	pool.ClosedByHolder, pool.ClosedDead, pool.ClosedUnpaired, pool.ClosedUnfit,
	pool.ClosedFull, pool.ClosedIdle, pool.ClosedAge, pool.ClosedUses, pool.ClosedCleaned, pool.ClosedDistrusted, pool.ClosedShutdown,
	pool.ClosedCheck, pool.ClosedDiscarded, pool.ClosedSingle, pool.ClosedMadeWay,
}

// Histogram makes a metric of a histogram.
func Histogram(d *prometheus.Desc, h pool.Histogram, values ...string) prometheus.Metric {
	buckets := make(map[float64]uint64, len(h.Bounds))
	var below uint64
	for i, bound := range h.Bounds {
		below += h.Counts[i]
		buckets[bound.Seconds()] = below
	}
	return prometheus.MustNewConstHistogram(d, h.Count(), h.Sum.Seconds(), buckets, values...)
}
