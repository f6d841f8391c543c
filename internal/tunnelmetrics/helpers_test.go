package tunnelmetrics

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/metrics"
	"github.com/tunnelpool/pool/tunnel"
)

// patience bounds every wait of a test; only a failure lasts that long.
const patience = 20 * time.Second

// echoes runs a target until the test ends.
func echoes(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go echo(l) // ends with l
	return l.Addr().String()
}

// clientElsewhere runs a client in a process of its own; it returns where its
// service is.
func clientElsewhere(t testing.TB, server *tunnel.Server, key pool.Key) string {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), clientProcess+"="+server.Addr().String(), "TUNNEL_KEY="+key.Text())
	stdin, err := c.StdinPipe()
	require.NoError(t, err)
	stdout, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	t.Cleanup(func() { stdin.Close(); c.Wait() })
	var addr string
	_, err = fmt.Fscan(stdout, &addr)
	require.NoError(t, err)
	return addr
}

// tunnelAtWork is a server with a client whose service and forward have each had a
// user's word and answer, and whose users are there still.
func tunnelAtWork(t testing.TB, name string, more ...tunnel.Service) (*tunnel.Server, *tunnel.Client, pool.Key) {
	t.Helper()
	key, target := pool.NewKey(), echoes(t)
	server, err := tunnel.NewServer(tunnel.ServerConfig{Listen: "127.0.0.1:0", Bind: "127.0.0.1", Keys: []pool.Key{key}, AllowForward: target, MaxStreams: 10000})
	require.NoError(t, err)
	client := join(t, server, key, name, append([]tunnel.Service{{Name: "web", Target: target}}, more...), []tunnel.Forward{{Name: "db", Listen: "127.0.0.1:0", Target: target}})
	for _, addr := range []string{client.Services()[0].Addr, client.Forwards()[0].Addr} {
		visit(t, addr)
	}
	return server, client, key
}

var running = map[*tunnel.Server]bool{} // whose Run was called

// join runs a client, and its server if nobody did, until the test ends.
func join(t testing.TB, server *tunnel.Server, key pool.Key, name string, services []tunnel.Service, forwards []tunnel.Forward) *tunnel.Client {
	t.Helper()
	client, err := tunnel.NewClient(tunnel.ClientConfig{Server: server.Addr().String(), Key: key, Name: name, Services: services, Forwards: forwards, MaxStreams: 10000})
	require.NoError(t, err)
	done := make(chan struct{}, 2)
	runs := 1
	if !running[server] {
		running[server] = true
		runs++
		go func() { server.Run(context.Background()); done <- struct{}{} }() // ends with Close
	}
	go func() { client.Run(context.Background()); done <- struct{}{} }() // likewise
	t.Cleanup(func() {
		client.Close()
		server.Close()
		for range runs {
			<-done
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, client.Up(ctx))
	return client
}

// visit is a user who is answered, and stays until the test ends.
func visit(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	for range 2 { // the first answer is counted before the second comes
		_, err = io.WriteString(c, "hello")
		require.NoError(t, err)
		_, err = io.ReadFull(c, make([]byte, 5))
		require.NoError(t, err)
	}
	return c
}

// poolsAtWork are both ends of a pool pair of the library.
func poolsAtWork(t testing.TB) (server, client *pool.Pool) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	key := pool.NewKey()
	server, err = pool.NewServer(pool.ServerConfig{Listener: l, Keys: pool.KnownKeys(key)})
	require.NoError(t, err)
	client, err = pool.NewClient(pool.ClientConfig{
		Dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
		},
		Security: pool.Security{Key: key},
		Limits:   pool.Limits{MinCap: 2, MaxCap: 2},
	})
	require.NoError(t, err)
	done := make(chan struct{}, 2)
	for _, p := range []*pool.Pool{server, client} {
		go func() { p.Run(context.Background()); done <- struct{}{} }() // ends with Close
	}
	t.Cleanup(func() { client.Close(); server.Close(); <-done; <-done })
	require.Eventually(t, func() bool { return server.Active() == 2 }, patience, time.Millisecond)
	return server, client
}

// gather is what a scrape of collectors finds, by name.
func gather(t testing.TB, collectors ...prometheus.Collector) map[string]*dto.MetricFamily {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	for _, c := range collectors {
		require.NoError(t, r.Register(c))
	}
	families, err := r.Gather()
	require.NoError(t, err)
	all := make(map[string]*dto.MetricFamily)
	for _, f := range families {
		all[f.GetName()] = f
	}
	return all
}

// everything is what all collectors of a tunnel and of pools tell.
func everything(t testing.TB) (server, client, library map[string]*dto.MetricFamily) {
	t.Helper()
	s, c, _ := tunnelAtWork(t, "pi")
	ps, pc := poolsAtWork(t)
	server = gather(t, &Server{s, "v1"})
	client = gather(t, &Client{c, "v1"})
	library = gather(t, metrics.NewCollector(ps, prometheus.Labels{"pool": "a"}), metrics.NewCollector(pc, prometheus.Labels{"pool": "b"}))
	return server, client, library
}

// labelsOf are the names of a metric's labels, all its series together.
func labelsOf(f *dto.MetricFamily) map[string]bool {
	labels := make(map[string]bool)
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = true
		}
	}
	return labels
}
