package metrics

import (
	"maps"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/poolmetrics"
)

// maxKeys is how many keys of a group have metrics of their own.
const maxKeys = 1000

type groupCollector struct {
	group  *pool.Group
	perKey *poolmetrics.Metrics
	sum    *poolmetrics.Metrics

	keys, unlisted, open, ended *prometheus.Desc

	mu     sync.Mutex
	listed map[string]bool // keys with metrics of their own, while they have a pool
}

// NewGroupCollector is [NewCollector] for a group. Its keys are told apart by the
// label "key", which must not be among labels. Of more than 1,000 keys those have
// metrics of their own that had a pool first, for as long as they have it;
// tunnelpool_group_unlisted_keys counts the others. What all keys did together, those
// included that are gone, is in metrics of the same names which begin with
// tunnelpool_group_.
func NewGroupCollector(g *pool.Group, labels prometheus.Labels) prometheus.Collector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("tunnelpool_group_"+name, help, nil, labels)
	}
	return &groupCollector{
		group:    g,
		perKey:   poolmetrics.New([]string{"key"}, labels),
		sum:      poolmetrics.Named("tunnelpool_group_", nil, labels),
		keys:     desc("keys", "Keys that have a pool."),
		unlisted: desc("unlisted_keys", "Of those, the ones without metrics of their own, because there are more than 1000 or the key is not UTF-8."),
		open:     desc("open_connections", "What counts for MaxOpen of the group: connections until they are closed, and dials; 0 without that bound."),
		ended:    desc("ended_pools_total", "Pools that were closed: unused, in the way of new keys, or on demand."),
		listed:   make(map[string]bool),
	}
}

func (c *groupCollector) Describe(to chan<- *prometheus.Desc) {
	c.perKey.Describe(to)
	c.sum.Describe(to)
	for _, d := range []*prometheus.Desc{c.keys, c.unlisted, c.open, c.ended} {
		to <- d
	}
}

func (c *groupCollector) Collect(to chan<- prometheus.Metric) {
	s := c.group.Stats()
	listed := c.list(s.Keys)
	for _, key := range listed {
		c.perKey.Collect(to, s.Keys[key], key)
	}
	c.sum.Collect(to, s.Sum)
	gauge := func(d *prometheus.Desc, v int) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	gauge(c.keys, len(s.Keys))
	gauge(c.unlisted, len(s.Keys)-len(listed))
	gauge(c.open, s.Open)
	to <- prometheus.MustNewConstMetric(c.ended, prometheus.CounterValue, float64(s.Ended))
}

// list says which keys have metrics of their own. One that has them keeps them.
func (c *groupCollector) list(keys map[string]pool.Stats) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.listed, func(key string, _ bool) bool {
		_, there := keys[key]
		return !there
	})
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if len(c.listed) >= maxKeys {
			break
		}
		if utf8.ValidString(key) { // Prometheus takes no other
			c.listed[key] = true
		}
	}
	return slices.Sorted(maps.Keys(c.listed))
}
