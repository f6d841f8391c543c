package tunnelmetrics

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/admin"
	"github.com/tunnelpool/pool/internal/status"
	"github.com/tunnelpool/pool/tunnel"
)

// scrape is what Prometheus reads.
func scrape(t testing.TB, c prometheus.Collector) string {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	require.NoError(t, r.Register(c))
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	require.Equal(t, 200, w.Code, w.Body.String())
	return w.Body.String()
}

func TestLint(t *testing.T) {
	server, client, _ := tunnelAtWork(t, "pi")
	for _, c := range []prometheus.Collector{&Server{server, "v1"}, &Client{client, "v1"}} {
		problems, err := testutil.CollectAndLint(c)
		require.NoError(t, err)
		require.Empty(t, problems)
	}
}

// TestNamesOfStrangers: whatever clients call themselves and their services, the
// lines of a scrape stay lines, and it fails for nobody.
func TestNamesOfStrangers(t *testing.T) {
	hostile := "a\"} 1 evil{x=\"\\"
	server, _, key := tunnelAtWork(t, hostile)
	twin := join(t, server, key, hostile, []tunnel.Service{{Name: hostile[:8], Target: echoes(t)}, {Name: "web", Target: echoes(t)}}, nil)
	visit(t, twin.Services()[1].Addr)
	text := scrape(t, &Server{server, "v1"})
	require.NotContains(t, text, "\nevil")
	label := `client="a\"} 1 evil{x=\"\\"`
	require.Contains(t, text, `tunnelpool_session_open_streams{`+label+`} 2`, "both of that name together")
	require.Contains(t, text, `tunnelpool_service_streams_total{`+label+`,kind="service",network="tcp",service="web"} 2`)
	require.Contains(t, text, `tunnelpool_service_first_byte_seconds_count{`+label+`,kind="service",network="tcp",service="web"} 2`)
	require.Contains(t, text, `tunnelpool_sessions 2`)
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		require.Regexp(t, `^(# (HELP|TYPE) )?tunnelpool_`, line)
	}
}

// crowd has more services than a scrape tells of.
type crowd []tunnel.ServiceStatus

func (crowd) Describe(to chan<- *prometheus.Desc) { describe(to, both) }

func (all crowd) Collect(to chan<- prometheus.Metric) {
	c := newCollection(to)
	c.services("service", all, false)
	c.services("forward", all[:2], false)
	c.send()
}

// TestManyServices: however many names clients make up, a scrape stays within
// bounds, and says that it does not tell everything.
func TestManyServices(t *testing.T) {
	all := make(crowd, maxListed+3)
	for i := range all {
		all[i] = tunnel.ServiceStatus{Client: "pi", Name: strconv.Itoa(i), Up: true}
	}
	all[maxListed+2].Name = "0" // has metrics already, of which it becomes a part
	text := scrape(t, all)
	require.Equal(t, maxListed, strings.Count(text, "\ntunnelpool_service_up{"))
	require.Contains(t, text, "\ntunnelpool_unlisted_services 4\n")
}

// TestNoSecrets: no metric has a key in it.
func TestNoSecrets(t *testing.T) {
	server, client, key := tunnelAtWork(t, "pi")
	for _, c := range []prometheus.Collector{&Server{server, "v1"}, &Client{client, "v1"}} {
		require.NotContains(t, scrape(t, c), key.Text())
	}
}

// TestScrapeDoesNotCountUsers: a scrape costs the same with many users as with one.
func TestScrapeDoesNotCountUsers(t *testing.T) {
	if testing.Short() {
		t.Skip("opens hundreds of connections")
	}
	server, client, _ := tunnelAtWork(t, "pi")
	cost := func() float64 { return testing.AllocsPerRun(20, func() { scrape(t, &Server{server, "v1"}) }) }
	few := cost()
	for range 300 {
		visit(t, client.Services()[0].Addr)
	}
	require.Contains(t, scrape(t, &Server{server, "v1"}), `tunnelpool_service_open_streams{client="pi",kind="service",network="tcp",service="web"} 301`)
	// What happens beside it counts too, until the pool is full again.
	require.Eventually(t, func() bool { return cost() < 1.3*few }, patience, time.Millisecond, "allocations of a scrape; there were %v with few users", few)
}

// TestAway: a client without a session, and a server without a client.
func TestAway(t *testing.T) {
	key := pool.NewKey()
	client, err := tunnel.NewClient(tunnel.ClientConfig{Server: "127.0.0.1:1", Key: key, Name: "pi", Services: []tunnel.Service{{Target: "127.0.0.1:1"}}})
	require.NoError(t, err)
	defer client.Close()
	text := scrape(t, &Client{client, "v1"})
	require.Contains(t, text, "tunnelpool_ready 0")
	require.Contains(t, text, "tunnelpool_sessions 0")
	server, err := tunnel.NewServer(tunnel.ServerConfig{Listen: "127.0.0.1:0", Keys: []pool.Key{key}})
	require.NoError(t, err)
	defer server.Close()
	text = scrape(t, &Server{server, "v1"})
	require.Contains(t, text, "tunnelpool_ready 0")
	require.NotContains(t, text, "tunnelpool_session_")
}

// listening is a Logger that learns where the admin address is.
type listening struct{ at chan string }

func (l listening) Info(format string, args ...any) { l.at <- fmt.Sprint(args...) }
func (listening) Debug(string, ...any)              {}
func (listening) Warn(string, ...any)               {}
func (listening) Error(string, ...any)              {}

// BenchmarkScrape is a scrape of a server that serves 5,000 users, with all that
// --admin does for it. It opens 15,000 descriptors.
func BenchmarkScrape(b *testing.B) {
	const users = 5000
	server, _, key := tunnelAtWork(b, "pi")
	busy := clientElsewhere(b, server, key)
	for range users {
		visit(b, busy)
	}
	log := listening{make(chan string, 1)}
	l, err := admin.Open(b.Context(), admin.Settings{Address: "127.0.0.1:0"}, log)
	require.NoError(b, err)
	end := l.Serve(context.Background(), admin.Program{
		Source:    &status.Server{About: status.NewAbout("v1", "1", log), Server: server},
		Collector: &Server{server, "v1"},
	})
	defer end()
	url := "http://" + <-log.at + "/metrics"
	for b.Loop() {
		r, err := http.Get(url)
		require.NoError(b, err)
		text, err := io.ReadAll(r.Body)
		require.NoError(b, err)
		r.Body.Close()
		require.Contains(b, string(text), `tunnelpool_service_open_streams{client="crowded",kind="service",network="tcp",service="busy"} 5000`)
	}
	http.DefaultClient.CloseIdleConnections()
}
