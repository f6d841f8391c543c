package metrics_test

import (
	"fmt"
	"net"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/metrics"
)

func ExampleNewCollector() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	p, err := pool.NewServer(pool.ServerConfig{Listener: listener, Limits: pool.Limits{MaxCap: 100}})
	if err != nil {
		panic(err)
	}
	defer p.Close()

	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.NewCollector(p, prometheus.Labels{"pool": "inbound"}))

	families, err := registry.Gather()
	if err != nil {
		panic(err)
	}
	for _, f := range families {
		if strings.HasSuffix(f.GetName(), "_capacity_connections") {
			m := f.GetMetric()[0]
			fmt.Printf("%s{%s=%q} %v\n", f.GetName(), m.GetLabel()[0].GetName(), m.GetLabel()[0].GetValue(), m.GetGauge().GetValue())
		}
	}
	// Output:
	// tunnelpool_pool_capacity_connections{pool="inbound"} 100
}
