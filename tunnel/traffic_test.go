package tunnel

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"io"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// TestLargeFile fetches 100 MB from an HTTP server behind the tunnel.
func TestLargeFile(t *testing.T) {
	size := 100 << 20
	if testing.Short() {
		size = 10 << 20
	}
	file := make([]byte, size)
	rand.Read(file)
	want := sha256.Sum256(file)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "file.bin", time.Time{}, bytes.NewReader(file))
	}))
	t.Cleanup(web.Close)
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		g := startClient(t, startServer(t, mode), web.Listener.Addr().String())
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
		begun := time.Now()
		resp, err := client.Get("http://" + g.public(0) + "/")
		require.NoError(t, err)
		defer resp.Body.Close()
		hash := sha256.New()
		n, err := io.Copy(hash, resp.Body)
		require.NoError(t, err)
		require.EqualValues(t, size, n)
		require.Equal(t, want[:], hash.Sum(nil))
		t.Logf("%d bytes, SHA-256 %x equal, in %v", n, want[:4], time.Since(begun).Round(time.Millisecond))
	})
}

// TestConcurrentConnections has 200 users send and receive a random length at
// the same time.
func TestConcurrentConnections(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		g := startClient(t, startServer(t, mode), startTarget(t, echo))
		var total, equal sync.Map
		var users sync.WaitGroup
		for i := range 200 {
			users.Go(func() {
				c, err := net.Dial("tcp", g.public(0))
				if err != nil {
					t.Errorf("user %d: %v", i, err)
					return
				}
				defer c.Close()
				c.SetDeadline(time.Now().Add(time.Minute))
				data := make([]byte, mrand.IntN(1<<20)+1)
				rand.Read(data)
				total.Store(i, len(data))
				go func() {
					c.Write(data)
					c.(*net.TCPConn).CloseWrite()
				}()
				hash := sha256.New()
				if _, err := io.Copy(hash, c); err != nil {
					t.Errorf("user %d: %v", i, err)
					return
				}
				if sent := sha256.Sum256(data); bytes.Equal(sent[:], hash.Sum(nil)) {
					equal.Store(i, true)
				}
			})
		}
		users.Wait()
		bytesSent, hashes := 0, 0
		total.Range(func(_, n any) bool { bytesSent += n.(int); return true })
		equal.Range(func(any, any) bool { hashes++; return true })
		require.Equal(t, 200, hashes)
		t.Logf("200 connections, %d bytes each way, %d hashes equal", bytesSent, hashes)
	})
}

func TestServerSpeaksFirst(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		target := startTarget(t, func(c *net.TCPConn) {
			io.WriteString(c, "220 ready\r\n")
			buf := make([]byte, 6)
			if _, err := io.ReadFull(c, buf); err == nil {
				io.WriteString(c, "221 "+string(buf))
			}
		})
		g := startClient(t, startServer(t, mode), target)
		c := g.dial(t)
		receive(t, c, "220 ready\r\n")
		send(t, c, "QUIT\r\n")
		receive(t, c, "221 QUIT\r\n")
		_, err := c.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	})
}

// TestHalfClose ends one direction; what comes after it in the other is whole.
func TestHalfClose(t *testing.T) {
	answer := make([]byte, 5<<20)
	rand.Read(answer)
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		t.Run("user first", func(t *testing.T) {
			question := make(chan string, 1)
			g := startClient(t, startServer(t, mode), startTarget(t, func(c *net.TCPConn) {
				q, _ := io.ReadAll(c) // to the user's end
				question <- string(q)
				c.Write(answer)
			}))
			c := g.dial(t)
			send(t, c, "sum?")
			require.NoError(t, c.CloseWrite())
			got, err := io.ReadAll(c)
			require.NoError(t, err)
			require.True(t, bytes.Equal(answer, got), "%d of %d bytes", len(got), len(answer))
			require.Equal(t, "sum?", <-question)
		})
		t.Run("target first", func(t *testing.T) {
			whole := make(chan bool, 1)
			g := startClient(t, startServer(t, mode), startTarget(t, func(c *net.TCPConn) {
				io.WriteString(c, "send it")
				c.CloseWrite()
				got, err := io.ReadAll(c)
				whole <- err == nil && bytes.Equal(answer, got)
			}))
			c := g.dial(t)
			got, err := io.ReadAll(c)
			require.NoError(t, err)
			require.Equal(t, "send it", string(got))
			_, err = c.Write(answer)
			require.NoError(t, err)
			c.Close()
			require.True(t, <-whole)
		})
	})
}

// TestReset: a reset on one end of the tunnel is a reset on the other.
func TestReset(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		seen := make(chan error, 1)
		g := startClient(t, startServer(t, mode), startTarget(t, func(c *net.TCPConn) {
			what := make([]byte, 1)
			io.ReadFull(c, what)
			if what[0] == 't' { // the target resets
				reset(c)
				return
			}
			c.Write(what)
			_, err := c.Read(what)
			seen <- err
		}))
		c := g.dial(t)
		send(t, c, "t")
		_, err := c.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET, "by the target, seen by the user")

		c = g.dial(t)
		send(t, c, "u")
		receive(t, c, "u")
		reset(c)
		require.ErrorIs(t, <-seen, syscall.ECONNRESET, "by the user, seen by the target")
		eventually(t, func() bool { return g.Stats().Open == 0 && g.Stats().Pool.Out == 0 },
			func() string { return "streams do not end" })
		require.Empty(t, g.Stats().Pool.Closed, "a reset cost a pooled connection")
	})
}

// TestIdleConnections holds 1,000 open connections that say nothing, then uses
// each.
func TestIdleConnections(t *testing.T) {
	const count = 1000
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		h := startServer(t, mode)
		g := startClient(t, h, startTarget(t, echo), func(cfg *ClientConfig) { cfg.PoolMax = 512 })
		users := make([]*net.TCPConn, count)
		for i := range users {
			users[i] = g.dial(t)
		}
		eventually(t, func() bool { return h.Stats().Open == count && g.Stats().Open == count },
			func() string { return strconv.Itoa(g.Stats().Open) + " are through" })
		for i, c := range users {
			c.SetDeadline(time.Now().Add(patience))
			send(t, c, "still here "+strconv.Itoa(i))
		}
		for i, c := range users {
			receive(t, c, "still here "+strconv.Itoa(i))
		}
		t.Logf("%d idle connections, all answered; server's streams %d", count, h.Stats().Open)
		for _, c := range users {
			c.Close()
		}
	})
}

// TestRecycling has 2,000 users come one after the other. The pool that was
// warm serves all of them. The interval is long, so that no pause of a busy
// machine is one in which a connection was missing.
func TestRecycling(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		h := startServer(t, mode)
		g := startClient(t, h, startTarget(t, echo), func(cfg *ClientConfig) { cfg.PoolMinInterval = 10 * time.Second })
		for i := range 2000 {
			c := g.dial(t)
			text := "user " + strconv.Itoa(i)
			send(t, c, text)
			receive(t, c, text)
			// To the end of both directions: "in a row" is one after the other.
			c.CloseWrite()
			_, err := c.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
			c.Close()
		}
		eventually(t, func() bool { return h.Stats().Open == 0 && g.Stats().Open == 0 },
			func() string { return "streams do not end" })
		client, server := g.Stats(), h.Stats()
		require.EqualValues(t, 2000, server.Streams)
		require.LessOrEqual(t, client.Pool.Created, uint64(client.Pool.Capacity))
		require.LessOrEqual(t, server.Pools[0].Created, uint64(client.Pool.Capacity))
		t.Logf("2000 users, %d connections created (server %d), capacity %d, PoolMin %d; closed %v",
			client.Pool.Created, server.Pools[0].Created, client.Pool.Capacity, g.cfg.Load().PoolMin, client.Pool.Closed)
	})
}
