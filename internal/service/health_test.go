package service

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/wire"
)

func TestParseCheck(t *testing.T) {
	for text, want := range map[string]Check{
		"tcp": {}, "http:/": {path: "/"}, "http:/healthz?deep=1": {path: "/healthz?deep=1"},
	} {
		got, err := ParseCheck(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got)
	}
	for text, want := range map[string]string{
		"":                  `want "tcp" or "http:/PATH"`,
		"http":              `want "tcp" or "http:/PATH"`,
		"http:":             `want "tcp" or "http:/PATH"`,
		"http://host/":      ``,
		"https:/":           `want "tcp" or "http:/PATH"`,
		"http:/a b":         `the path "/a b" has a character that belongs in no path; want "tcp" or "http:/PATH"`,
		"http:/a\r\nHost:b": `the path "/a\r\nHost:b" has a character that belongs in no path; want "tcp" or "http:/PATH"`,
		"http:/%zz":         `the path "/%zz" is none; want "tcp" or "http:/PATH"`,
	} {
		_, err := ParseCheck(text)
		if want == "" {
			require.NoError(t, err, "a path that looks like a host is a path")
			continue
		}
		require.EqualError(t, err, want)
	}
}

// TestHealthOutAndIn: a target goes out after two failed checks, comes back after
// one that succeeds, and each is told once. Users do not meet it while it is out.
func TestHealthOutAndIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = 5 * time.Second
		n := newTown("a", "b")
		ctx, stop := context.WithCancel(t.Context())
		var watching sync.WaitGroup
		var mu sync.Mutex
		var checks atomic.Int64 // of a
		unwell := false
		var ours atomic.Bool
		watching.Go(func() {
			n.watch(ctx, interval, func(_ context.Context, address string) *Failure {
				mu.Lock()
				defer mu.Unlock()
				if ours.Load() {
					return &Failure{address, wire.ResetInternal, syscall.EMFILE}
				}
				if address == "a" {
					checks.Add(1)
					if unwell {
						return &Failure{Address: address, Err: errDown}
					}
				}
				return nil
			})
		})
		turn := func(sick bool) { mu.Lock(); unwell = sick; mu.Unlock() }
		share := func() (a int) {
			for range 10 {
				if tried, _ := n.user(t); tried == "a" {
					a++
				}
			}
			return a
		}
		synctest.Wait()
		require.EqualValues(t, 1, checks.Load(), "the first is at once")
		time.Sleep(10 * time.Minute)
		require.InDelta(t, 120, checks.Load(), 20)
		require.Equal(t, 5, share())
		require.Empty(t, n.news())

		turn(true)
		time.Sleep(2*interval + missRepeat)
		require.Equal(t, []string{"a down: down, 1 of 2"}, n.news())
		require.Zero(t, share())
		time.Sleep(time.Hour)
		require.Empty(t, n.news())
		require.Zero(t, share(), "nobody is sent there to try")

		turn(false)
		time.Sleep(2 * interval)
		require.Equal(t, []string{"a well, 2 of 2"}, n.news())
		require.Equal(t, 5, share())

		// One failed check is none.
		turn(true)
		for before := checks.Load(); checks.Load() == before; {
			time.Sleep(100 * time.Millisecond)
		}
		turn(false)
		time.Sleep(time.Minute)
		require.Empty(t, n.news())

		// What users found is set right by a check before they would try again.
		n.turn("a", wire.ResetRefused)
		n.user(t)
		n.user(t)
		require.Equal(t, []string{"a down: down, 1 of 2"}, n.news())
		n.turn("a", 0)
		time.Sleep(2 * interval)
		require.Equal(t, []string{"a well, 2 of 2"}, n.news())

		// That this machine has no descriptor left is not held against it.
		ours.Store(true)
		time.Sleep(time.Minute)
		require.Empty(t, n.news())

		stop()
		watching.Wait()
	})
}

func TestChecks(t *testing.T) {
	status := http.StatusOK
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/late":
			<-r.Context().Done()
		case "/elsewhere":
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		default:
			w.WriteHeader(status)
		}
	}))
	defer web.Close()
	address := web.Listener.Addr().String()
	gone := listen(t)
	gone.Close()

	check := func(text, address string) *Failure {
		c, err := ParseCheck(text)
		require.NoError(t, err)
		c.Interval, c.Timeout = time.Second, patience
		if strings.HasSuffix(text, "late") {
			c.Timeout = 20 * time.Millisecond
		}
		return c.Once(t.Context(), address)
	}
	require.Nil(t, check("tcp", address))
	require.Nil(t, check("http:/", address))
	require.Nil(t, check("http:/elsewhere", address), "it says where to go, and nobody goes")

	why := check("tcp", gone.Addr().String())
	require.Equal(t, wire.ResetRefused, why.Reason)
	why = check("http:/", gone.Addr().String())
	require.Equal(t, wire.ResetRefused, why.Reason)
	why = check("http:/late", address)
	require.Equal(t, wire.ResetTimeout, why.Reason)
	status = http.StatusServiceUnavailable
	why = check("http:/healthz", address)
	require.Zero(t, why.Reason)
	require.EqualError(t, why.Err, "GET /healthz is answered with status 503")
}

// TestCheckOfUnixTarget also begins as every connection to the target does.
func TestCheckOfUnixTarget(t *testing.T) {
	l, err := net.Listen("unix", socketPath(t))
	require.NoError(t, err)
	defer l.Close()
	heard := make(chan error, 1)
	go func() { // ends with its one connection
		conn, err := l.Accept()
		if err != nil {
			heard <- err
			return
		}
		defer conn.Close()
		in := bufio.NewReader(conn)
		if line, _ := in.ReadString('\n'); line != "preface\n" {
			heard <- errors.New(line)
			return
		}
		request, err := http.ReadRequest(in)
		if err == nil && request.Host != "localhost" {
			err = errors.New(request.Host)
		}
		io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		heard <- err
	}()
	c, err := ParseCheck("http:/")
	require.NoError(t, err)
	c.Timeout, c.Preface = patience, []byte("preface\n")
	require.Nil(t, c.Once(t.Context(), UnixScheme+l.Addr().String()))
	require.NoError(t, <-heard)
}
