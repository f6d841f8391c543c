package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tunnelpool/pool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted runs a server whose nth connection, from 1, is handled so, until the
// test ends.
func scripted(t testing.TB, handle func(n int, conn net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			n := len(conns)
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				handle(n, conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for _, conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return listener.Addr().String()
}

// behaved answers each request with its parameters, as "echo" does.
func behaved(conn net.Conn) {
	for d := json.NewDecoder(conn); ; {
		var req request
		if d.Decode(&req) != nil {
			return
		}
		fmt.Fprintf(conn, `{"status": "success", "result": %s}`, req.Params)
	}
}

// newTestClient makes a Client that ends with the test.
func newTestClient(t testing.TB, cfg Config) *Client {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.MaxAnswer == 0 {
		cfg.MaxAnswer = 1 << 20
	}
	client, err := NewClient(cfg)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

// TestBrokenAnswers: each connection that gives an answer that is none is
// discarded, and the next request is answered on another.
func TestBrokenAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		say  string
		hold bool // the connection stays open
		want string
	}{
		"cut":       {`{"status": "succ`, false, `echo: the server closed the connection within its answer; it begins: {"status": "succ`},
		"none":      {"", false, "echo: the server closed the connection without an answer"},
		"slow":      {`{"status": "succ`, true, "echo: no whole answer in time"},
		"two":       {`{"status": "success", "result": 1}{"status": "success", "result": 2}`, true, "echo: bytes follow the answer; it begins: {"},
		"huge":      {`{"status": "success", "result": "` + strings.Repeat("x", 2<<20), true, "echo: the answer is too large: more than 1048576 bytes; it begins: {"},
		"no UTF-8":  {"{\"status\": \"success\", \"result\": \"\xff\"}", true, "echo: the answer is not UTF-8; it begins: {"},
		"no object": {`["status"]`, true, `echo: the answer is no JSON object; it begins: ["status"]`},
		"a word":    {"ERROR", true, "echo: the answer is no JSON object; it begins: ERROR"},
		"a number":  {"12", true, "echo: the answer is no JSON object; it begins: 12"},
		"status":    {`{"status": "perhaps"}`, true, `echo: the answer's status is neither "success" nor "error"; it begins: {"status": "perhaps"}`},
		"shape":     {`{"status": ["success"]}`, true, "echo: the answer has another shape than agreed; it begins: {"},
		"no status": {`{"result": 3}`, true, `echo: the answer's status is neither`},
		"syntax":    {`{"status" "success"}`, true, "echo: the answer is not JSON (invalid character '\"' after object key)"},
	} {
		t.Run(name, func(t *testing.T) {
			var broken atomic.Bool
			address := scripted(t, func(_ int, conn net.Conn) {
				if broken.Load() {
					behaved(conn)
					return
				}
				var req request
				if json.NewDecoder(conn).Decode(&req) != nil {
					return // of the pool's, and not used
				}
				broken.Store(true)
				io.WriteString(conn, c.say)
				if c.hold {
					io.Copy(io.Discard, conn) // until the client closes it
				}
			})
			client := newTestClient(t, Config{Server: address, Connections: 1})
			if name == "slow" {
				client.cfg.Timeout = 50 * time.Millisecond
			}
			_, err := client.Call(t.Context(), "echo", json.RawMessage("1"))
			require.ErrorContains(t, err, c.want)
			var answer *AnswerError
			require.ErrorAs(t, err, &answer)
			require.LessOrEqual(t, len([]rune(answer.Excerpt)), 200)
			require.EqualValues(t, 1, client.pool.Stats().Closed[pool.ClosedDiscarded])

			client.cfg.Timeout = 10 * time.Second
			result, err := client.Call(t.Context(), "echo", json.RawMessage("2"))
			require.NoError(t, err)
			require.Equal(t, "2", string(result))
		})
	}
}

// TestLateAnswer: the answer that came too late for its request is nobody's.
func TestLateAnswer(t *testing.T) {
	second := make(chan struct{}) // there is another connection
	var once sync.Once
	address := scripted(t, func(n int, conn net.Conn) {
		if n > 1 {
			once.Do(func() { close(second) })
			behaved(conn)
			return
		}
		var req request
		if json.NewDecoder(conn).Decode(&req) != nil {
			return
		}
		<-second
		fmt.Fprintf(conn, `{"status": "success", "result": %s}`, req.Params)
		io.Copy(io.Discard, conn)
	})
	client := newTestClient(t, Config{Server: address, Connections: 1})
	client.cfg.Timeout = 50 * time.Millisecond
	_, err := client.Call(t.Context(), "echo", json.RawMessage(`"first"`))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	client.cfg.Timeout = 10 * time.Second
	result, err := client.Call(t.Context(), "echo", json.RawMessage(`"second"`))
	require.NoError(t, err)
	require.Equal(t, `"second"`, string(result))
}

// TestLeavingCaller: a caller who gives up is free at once, and the connection
// goes.
func TestLeavingCaller(t *testing.T) {
	asked := make(chan struct{})
	address := scripted(t, func(n int, conn net.Conn) {
		conn.Read(make([]byte, 1))
		if n == 1 {
			close(asked)
		}
		io.Copy(io.Discard, conn)
	})
	client := newTestClient(t, Config{Server: address, Connections: 1})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // ends with the request
		<-asked
		cancel()
	}()
	_, err := client.Call(ctx, "echo", nil)
	require.ErrorIs(t, err, context.Canceled)
	require.EqualValues(t, 1, client.pool.Stats().Closed[pool.ClosedDiscarded])
}

// TestApplicationErrors: an error of the server's own costs no connection.
func TestApplicationErrors(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := newServer(listener, execute)
	defer s.Close()
	client := newTestClient(t, Config{Server: listener.Addr().String(), Connections: 1})
	for range 10 {
		_, err := client.Call(t.Context(), "get_object_info", json.RawMessage(`{"name": "Sphere"}`))
		var refused *ServerError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, "object not found: Sphere", refused.Message)
	}
	require.Empty(t, client.pool.Stats().Closed)
	require.Equal(t, 1, s.Accepted())
	require.Equal(t, "the server says: a b", (&ServerError{"a\x1bb"}).Error())
}

// TestRetirement: the server sees no more than so many requests on a connection.
func TestRetirement(t *testing.T) {
	var mu sync.Mutex
	var uses []int // of each connection
	address := scripted(t, func(n int, conn net.Conn) {
		for d := json.NewDecoder(conn); ; {
			var req request
			if d.Decode(&req) != nil {
				return
			}
			mu.Lock()
			for len(uses) < n {
				uses = append(uses, 0)
			}
			uses[n-1]++
			mu.Unlock()
			io.WriteString(conn, `{"status": "success"}`)
		}
	})
	client := newTestClient(t, Config{Server: address, Connections: 1, MaxUses: 3})
	for range 10 {
		_, err := client.Call(t.Context(), "x", nil)
		require.NoError(t, err)
	}
	require.EqualValues(t, 3, client.pool.Stats().Closed[pool.ClosedUses])
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, []int{3, 3, 3, 1}, uses)
}

// TestEachItsOwn: fifty requests at once over at most four connections, and no
// answer is another's. The server sees no more than four.
func TestEachItsOwn(t *testing.T) {
	var open, most atomic.Int64
	address := scripted(t, func(_ int, conn net.Conn) {
		now := open.Add(1)
		defer open.Add(-1)
		for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
		}
		behaved(conn)
	})
	client := newTestClient(t, Config{Server: address, Connections: 4})
	for range 20 {
		require.NoError(t, echoes(t.Context(), client, 50))
	}
	require.LessOrEqual(t, most.Load(), int64(4))
	require.Empty(t, client.pool.Stats().Closed)
}

// TestCheck: what --check names is asked before a connection is used again.
func TestCheck(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	address := scripted(t, func(_ int, conn net.Conn) {
		for d := json.NewDecoder(conn); ; {
			var req request
			if d.Decode(&req) != nil {
				return
			}
			mu.Lock()
			asked = append(asked, req.Type)
			mu.Unlock()
			io.WriteString(conn, `{"status": "success"}`)
		}
	})
	client := &Client{cfg: Config{Server: address, Connections: 1, Timeout: 10 * time.Second, MaxAnswer: 1000, Check: "ping"}}
	cfg := client.poolConfig()
	cfg.CheckAtGet = -1 // always; the period is too long for a test
	var err error
	client.pool, err = pool.NewLocal(cfg)
	require.NoError(t, err)
	defer client.Close()
	_, err = client.Call(t.Context(), "work", nil)
	require.NoError(t, err)
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, []string{"ping", "ping", "work"}, asked, "when it is new, before it is used, and its use")
}
