package metrics

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
)

// family is one metric of a collector.
func family(t *testing.T, c prometheus.Collector, name string) *dto.MetricFamily {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	require.NoError(t, r.Register(c))
	all, err := r.Gather()
	require.NoError(t, err)
	for _, f := range all {
		if f.GetName() == name {
			return f
		}
	}
	t.Fatalf("there is no %s", name)
	return nil
}

// value is that of a metric with one series.
func value(t *testing.T, c prometheus.Collector, name string) float64 {
	t.Helper()
	m := family(t, c, name).GetMetric()
	require.Len(t, m, 1)
	return m[0].GetCounter().GetValue() + m[0].GetGauge().GetValue()
}
