package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/testnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newTestClient makes a Client that ends with the test.
func newTestClient(t testing.TB, cfg pool.LocalConfig, login Login) *Client {
	t.Helper()
	client, err := NewClient(cfg, login, 5*time.Second)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func TestReplies(t *testing.T) {
	client := newTestClient(t, pool.LocalConfig{Address: startRedis(t)}, Login{})
	do := func(command string) (any, error) { return client.Do(t.Context(), strings.Fields(command)...) }
	for _, c := range []struct {
		command string
		want    any
	}{
		{"PING", "PONG"}, {"SET a hello", "OK"}, {"GET a", []byte("hello")}, {"GET none", nil}, {"INCR n", int64(1)},
		{"MGET a none", []any{[]byte("hello"), nil}}, {"COMMAND GETKEYS SET k v", []any{[]byte("k")}}, {"KEYS x*", []any{}},
		{"EVAL return{1,{2,{err='E'}}} 0", []any{int64(1), []any{int64(2), Error("E")}}},
	} {
		got, err := do(c.command)
		require.NoError(t, err, c.command)
		require.Equal(t, c.want, got, c.command)
	}
	_, err := do("INCR a")
	var refused Error
	require.ErrorAs(t, err, &refused)
	require.EqualError(t, err, `INCR: the server says "ERR value is not an integer or out of range"`)

	binary := string([]byte{0, '\r', '\n', 0xff, '$'})
	_, err = client.Do(t.Context(), "SET", binary, binary)
	require.NoError(t, err)
	got, err := client.Do(t.Context(), "GET", binary)
	require.NoError(t, err)
	require.Equal(t, []byte(binary), got)

	large := strings.Repeat("0123456789abcdef", 1<<18)
	_, err = client.Do(t.Context(), "SET", "large", large)
	require.NoError(t, err)
	got, err = client.Do(t.Context(), "GET", "large")
	require.NoError(t, err)
	require.True(t, large == string(got.([]byte)), "4 MiB there and back")
	require.Empty(t, client.pool.Stats().Closed, "no reply cost a connection, the error neither")
}

// TestConcurrentIncrements: a hundred users at once have eight connections at
// most, as the server sees it too, and nobody gets another's reply.
func TestConcurrentIncrements(t *testing.T) {
	address := startRedis(t)
	client := newTestClient(t, pool.LocalConfig{Address: address, Limits: pool.Limits{MaxOpen: 8}}, Login{})
	const users, each = 100, 20
	var most atomic.Int64
	var seen sync.Map
	var wg sync.WaitGroup
	for range users {
		wg.Go(func() {
			for range each {
				n, err := client.Do(t.Context(), "INCR", "n")
				if err != nil {
					t.Error(err)
					return
				}
				if _, twice := seen.LoadOrStore(n, true); twice {
					t.Errorf("two users got %d", n)
				}
			}
		})
	}
	for range 20 {
		most.Store(max(most.Load(), int64(others(t, address))))
	}
	wg.Wait()
	got, err := client.Do(t.Context(), "GET", "n")
	require.NoError(t, err)
	require.Equal(t, fmt.Sprint(users*each), string(got.([]byte)))
	require.LessOrEqual(t, most.Load(), int64(8), "connections in CLIENT LIST")
	require.Positive(t, most.Load())
	require.LessOrEqual(t, client.pool.Stats().Created, uint64(8))
	t.Logf("%d INCR of %d users, at most %d connections in CLIENT LIST", users*each, users, most.Load())
}

// TestKilledConnections: CLIENT KILL ends all of the pool's connections under
// load. Whoever was using one gets an error; nobody waits for long, and no
// command is sent twice.
func TestKilledConnections(t *testing.T) {
	address := startRedis(t)
	client := newTestClient(t, pool.LocalConfig{Address: address, Limits: pool.Limits{MinCap: 4, MaxOpen: 4}}, Login{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, client.pool.WaitReady(ctx, 4))
	var good, bad atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := client.Do(ctx, "INCR", "n"); err != nil {
					bad.Add(1)
				} else {
					good.Add(1)
				}
			}
		})
	}
	killed := int64(0)
	for range 5 {
		before := good.Load()
		require.Eventually(t, func() bool {
			s := client.pool.Stats()
			return s.Idle+s.Out == 4 && good.Load() > before+50
		}, 10*time.Second, time.Millisecond, "as before")
		killed += direct(t, address, "CLIENT", "KILL", "TYPE", "normal").(int64)
	}
	before := good.Load()
	require.Eventually(t, func() bool { return good.Load() > before+50 }, 10*time.Second, time.Millisecond, "the pool recovers")
	close(stop)
	wg.Wait()
	require.Positive(t, killed)
	require.LessOrEqual(t, bad.Load(), killed, "only who used one of those killed gets an error")

	reply, err := client.Do(ctx, "INCRBY", "n", "0")
	require.NoError(t, err)
	require.GreaterOrEqual(t, reply.(int64), good.Load())
	require.LessOrEqual(t, reply.(int64), good.Load()+bad.Load(), "nothing was sent twice")
	t.Logf("%d killed, %d replies, %d errors", killed, good.Load(), bad.Load())
}

// TestIdleKick: the server ends connections that are idle for a second. The
// pool sees it before it hands one out.
func TestIdleKick(t *testing.T) {
	address := startRedis(t, "--timeout", "1", "--hz", "50")
	client := newTestClient(t, pool.LocalConfig{Address: address, CheckEvery: -1, Limits: pool.Limits{MinCap: -1, MaxOpen: 1}}, Login{})
	first, err := client.Do(t.Context(), "CLIENT", "ID")
	require.NoError(t, err)
	_, err = client.Do(t.Context(), "PING") // its last command, by which others tells it from those that ask
	require.NoError(t, err)
	require.Eventually(t, func() bool { return others(t, address) == 0 }, 10*time.Second, 20*time.Millisecond, "the server kicks")
	second, err := client.Do(t.Context(), "CLIENT", "ID")
	require.NoError(t, err)
	require.NotEqual(t, first, second)
	require.Positive(t, client.pool.Stats().Closed[pool.ClosedDead])
}

func TestLogin(t *testing.T) {
	address := startRedis(t, "--requirepass", "correct horse")
	ctx := t.Context()
	try := func(login Login) error {
		return newTestClient(t, pool.LocalConfig{Address: address}, login).Reach(ctx)
	}
	wrong := fmt.Sprintf("set up the connection to %s: ", address)
	require.EqualError(t, try(Login{Password: "secret"}),
		wrong+`AUTH: the server says "WRONGPASS invalid username-password pair or user is disabled."`)
	require.EqualError(t, try(Login{}), wrong+`PING: the server says "NOAUTH Authentication required."`)
	require.EqualError(t, try(Login{Password: "correct horse", DB: 99}), wrong+`SELECT: the server says "ERR DB index is out of range"`)
	require.NoError(t, try(Login{User: "default", Password: "correct horse"}))

	client := newTestClient(t, pool.LocalConfig{Address: address}, Login{Password: "correct horse", DB: 3})
	list, err := client.Do(ctx, "CLIENT", "LIST")
	require.NoError(t, err)
	require.Contains(t, string(list.([]byte)), " db=3 ")
}

// TestTLS: variables alone make a pool over TLS, to a server that wants our
// certificate too.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, cert, key)
	port, err := testnet.FreePort()
	require.NoError(t, err)
	startRedis(t, "--tls-port", fmt.Sprint(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert)
	try := func() string {
		var out bytes.Buffer
		run(t.Context(), []string{"PING"}, &out, &out)
		return out.String()
	}
	t.Setenv("REDIS_POOL_ADDRESS", fmt.Sprintf("127.0.0.1:%d", port))
	t.Setenv("REDIS_POOL_TLS", "on")
	require.Contains(t, try(), "certificate signed by unknown authority")
	t.Setenv("REDIS_POOL_TLS_CA_FILE", cert)
	require.Contains(t, try(), "PING: ", "refused, without our certificate") // by an alert, or a reset that overtakes it
	t.Setenv("REDIS_POOL_TLS_CERT_FILE", cert)
	t.Setenv("REDIS_POOL_TLS_KEY_FILE", key)
	require.Equal(t, "PONG\n", try())
	t.Setenv("REDIS_POOL_TLS_SERVER_NAME", "db.example")
	require.Contains(t, try(), "not db.example")
}

// TestGoodbye: the server hears QUIT of each connection that ends in order.
func TestGoodbye(t *testing.T) {
	address := startRedis(t)
	client, err := NewClient(pool.LocalConfig{Address: address, Limits: pool.Limits{MinCap: 3}}, Login{}, time.Second)
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, client.pool.WaitReady(t.Context(), 3))
	client.Close()
	stats := string(direct(t, address, "INFO", "commandstats").([]byte))
	require.Contains(t, stats, "cmdstat_quit:calls=3")
	require.Contains(t, stats, "cmdstat_ping:calls=3")
}

// TestSilentServer: a reply that does not come ends the call and the
// connection.
func TestSilentServer(t *testing.T) {
	address := startRedis(t)
	client := newTestClient(t, pool.LocalConfig{Address: address, Limits: pool.Limits{MinCap: -1}}, Login{})
	client.timeout = 50 * time.Millisecond
	_, err := client.Do(t.Context(), "BLPOP", "none", "0")
	require.ErrorContains(t, err, "BLPOP: no whole reply in time")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.EqualValues(t, 1, client.pool.Stats().Closed[pool.ClosedDiscarded])
	client.timeout = 5 * time.Second
	reply, err := client.Do(t.Context(), "PING")
	require.NoError(t, err)
	require.Equal(t, "PONG", reply)
}

func TestShareable(t *testing.T) {
	for _, command := range []string{"SELECT 1", "subscribe x", "Client Reply off", "MULTI", "QUIT", "auth x"} {
		require.ErrorContains(t, shareable(strings.Fields(command)), "would change a connection that others use too", command)
	}
	for _, command := range []string{"GET SELECT", "CLIENT LIST", "PUBLISH a b"} {
		require.NoError(t, shareable(strings.Fields(command)), command)
	}
	require.Error(t, shareable(nil))
}

func TestCommandLine(t *testing.T) {
	address := startRedis(t, "--requirepass", "secret")
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("secret\n"), 0o600))
	t.Setenv("REDIS_POOL_ADDRESS", address)
	t.Setenv("REDISCLI_AUTH", "wrong")
	for _, c := range []struct {
		args   string
		status int
		out    string // what it prints begins so
	}{
		{"PING", 1, "redis: set up the connection to " + address + `: AUTH: the server says "WRONGPASS`},
		{"--password-file " + file + " PING", 0, "PONG\n"},
		{"--password-file " + file + " --times 50 --connections 3 INCR n", 0, "50 replies in "},
		{"--password-file " + file + " MGET n x", 0, "1) \"50\"\n2) (nil)\n"},
		{"--password-file " + file + " --times 50 LPUSH n x", 1, `redis: LPUSH: the server says "WRONGTYPE`},
		{"--password-file " + file + "x PING", 2, "redis: --password-file: open "},
		{"--server 127.0.0.1:1 PING", 1, "redis: dial tcp 127.0.0.1:1: "},
		{"--server x PING", 2, `redis: --server "x" is not HOST:PORT`},
		{"--times 0 PING", 2, "redis: --times and --timeout are above 0"},
		{"--time 3 PING", 2, "redis: flag provided but not defined: -time; --help"},
		{"", 2, "redis: the command is missing"},
		{"SELECT 2", 2, "redis: SELECT would change a connection"},
		{"--help", 0, "usage: redis "},
	} {
		var out bytes.Buffer
		status := run(t.Context(), strings.Fields(c.args), &out, &out)
		require.Equal(t, c.status, status, "%s: %s", c.args, out.String())
		require.True(t, strings.HasPrefix(out.String(), c.out), "%s: %s", c.args, out.String())
		if status != 0 {
			require.Equal(t, 1, strings.Count(out.String(), "\n"), out.String())
			require.NotContains(t, out.String(), "secret")
		}
	}
	t.Setenv("REDIS_POOL_MAXOPEN", "3")
	var out bytes.Buffer
	require.Equal(t, 2, run(t.Context(), []string{"PING"}, &out, &out))
	require.Equal(t, "redis: pool: \"REDIS_POOL_MAXOPEN\" is not known; did you mean REDIS_POOL_MAX_OPEN?\n", out.String())
}

// TestRatio compares a command over a pooled connection with one over a
// connection of its own, at the same server, in turns.
func TestRatio(t *testing.T) {
	address := startRedis(t)
	client := newTestClient(t, pool.LocalConfig{Address: address}, Login{})
	pooled := func() {
		_, err := client.Do(t.Context(), "INCR", "n")
		require.NoError(t, err)
	}
	single := func() { require.IsType(t, int64(0), direct(t, address, "INCR", "n")) }
	pooled()
	const rounds, each = 10, 100
	var with, without time.Duration
	for range rounds {
		began := time.Now()
		for range each {
			pooled()
		}
		middle := time.Now()
		for range each {
			single()
		}
		with, without = with+middle.Sub(began), without+time.Since(middle)
	}
	t.Logf("INCR one after the other: %v pooled, %v with a connection for each; %.1f times as fast",
		with/(rounds*each), without/(rounds*each), float64(without)/float64(with))
	require.Equal(t, fmt.Sprint(2*rounds*each+1), string(direct(t, address, "GET", "n").([]byte)))
}
