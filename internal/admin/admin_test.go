package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/page"
	"github.com/tunnelpool/pool/internal/status"
)

// patience bounds every wait of a test; only a failure lasts that long.
const patience = 10 * time.Second

// fake is a Source that says what the test does.
type fake struct{ ready error }

func (f *fake) Ready() error              { return f.ready }
func (f *fake) FirstByte() pool.Histogram { return pool.Histogram{} }
func (f *fake) Report() status.Report     { return status.Report{Program: "tunnel-server"} }

func options(f *fake) Options {
	return Options{
		Source: f, History: status.NewSampler(f).History, Hosts: []string{"admin.example"},
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "metrics") }),
		Page:    page.Handler(),
	}
}

func ask(h http.Handler, method, path string, change ...func(*http.Request)) *http.Response {
	r := httptest.NewRequest(method, "http://127.0.0.1:10102"+path, nil)
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return string(b)
}

func TestRoutes(t *testing.T) {
	f := &fake{}
	o := options(f)
	h := Handler(o)
	for _, c := range []struct {
		method, path string
		code         int
		body         string
	}{
		{"GET", "/healthz", 200, "ok\n"},
		{"GET", "/readyz", 200, "ready\n"},
		{"HEAD", "/readyz", 200, ""},
		{"GET", "/metrics", 200, "metrics"},
		{"GET", "/", 200, ""},
		{"GET", "/style.css", 200, ""},
		{"GET", "/nowhere", 404, ""},
		{"POST", "/", 405, ""},
		{"POST", "/metrics", 405, ""},
		{"DELETE", "/api/v1/status", 405, ""},
		{"POST", "/keys/reload", 405, ""},
		{"GET", "/debug/pprof/heap", 404, ""},
	} {
		r := ask(h, c.method, c.path)
		require.Equal(t, c.code, r.StatusCode, "%s %s", c.method, c.path)
		if c.body != "" && c.method != "HEAD" {
			require.Equal(t, c.body, text(t, r), "%s %s", c.method, c.path)
		}
		require.Equal(t, "nosniff", r.Header.Get("X-Content-Type-Options"))
		require.Contains(t, r.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
		require.Contains(t, []string{"no-store", "no-cache"}, r.Header.Get("Cache-Control"), "%s %s", c.method, c.path)
	}
	f.ready = errors.New(`"web" is not up: not connected yet`)
	r := ask(h, "GET", "/readyz")
	require.Equal(t, 503, r.StatusCode)
	require.Equal(t, "\"web\" is not up: not connected yet\n", text(t, r))
	require.Equal(t, 200, ask(h, "GET", "/healthz").StatusCode, "it lives all the same")

	var report status.Report
	require.NoError(t, json.NewDecoder(ask(h, "GET", "/api/v1/status").Body).Decode(&report))
	require.Equal(t, "tunnel-server", report.Program)
	require.JSONEq(t, `{"interval_seconds":1,"samples":[]}`, text(t, ask(h, "GET", "/api/v1/history")))

	require.Equal(t, 200, ask(h, "GET", "/api/v1/history?since=2026-01-02T15:04:05.123456789%2B01:00").StatusCode)
	r = ask(h, "GET", "/api/v1/history?since=yesterday")
	require.Equal(t, 400, r.StatusCode)
	require.Contains(t, text(t, r), `since="yesterday" is not a time`)

	o.Profiles = true
	r = ask(Handler(o), "GET", "/debug/pprof/heap")
	require.Equal(t, "application/octet-stream", r.Header.Get("Content-Type"))
	require.Equal(t, 404, ask(Handler(o), "GET", "/debug/pprof/cmdline").StatusCode)
}

// TestStrangersNames: a page elsewhere, whose name is made to lead here, gets
// nothing.
func TestStrangersNames(t *testing.T) {
	h := Handler(options(&fake{}))
	for host, code := range map[string]int{
		"127.0.0.1:10102": 200, "[::1]:10102": 200, "[::1]": 200, "localhost:10102": 200, "LOCALHOST": 200, "admin.example": 200,
		"evil.example": 421, "evil.example:10102": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example": 421, "": 421,
	} {
		r := ask(h, "GET", "/api/v1/status", func(r *http.Request) { r.Host = host })
		require.Equal(t, code, r.StatusCode, "Host %q", host)
	}
	open := options(&fake{})
	open.Hosts = nil
	require.Equal(t, 200, ask(Handler(open), "GET", "/healthz", func(r *http.Request) { r.Host = "evil.example" }).StatusCode)
}

// TestPagesElsewhere: a page of another site cannot make its visitor's browser
// have work done here; a link on it leads here, and our own page is served.
func TestPagesElsewhere(t *testing.T) {
	o := options(&fake{})
	o.Profiles = true
	h := Handler(o)
	for _, c := range []struct {
		site, dest string
		code       int
	}{
		{"", "", 200}, {"same-origin", "empty", 200}, {"none", "document", 200}, {"cross-site", "document", 200},
		{"cross-site", "image", 403}, {"cross-site", "empty", 403}, {"cross-site", "iframe", 403}, {"cross-site", "script", 403}, {"cross-site", "", 403},
	} {
		for _, path := range []string{"/metrics", "/api/v1/status", "/debug/pprof/heap"} {
			r := ask(h, "GET", path, func(r *http.Request) {
				r.Header.Set("Sec-Fetch-Site", c.site)
				r.Header.Set("Sec-Fetch-Dest", c.dest)
			})
			require.Equal(t, c.code, r.StatusCode, "%s for %q of %q", path, c.dest, c.site)
		}
	}
}

func TestReload(t *testing.T) {
	o := options(&fake{})
	var refusal error
	o.Reload = func(context.Context) error { return refusal }
	h := Handler(o)
	require.Equal(t, 200, ask(h, "POST", "/keys/reload").StatusCode)
	require.Equal(t, 404, ask(h, "GET", "/keys/reload").StatusCode, "nothing changes by looking")
	refusal = errors.New("keys.yaml, line 3: no")
	r := ask(h, "POST", "/keys/reload")
	require.Equal(t, 422, r.StatusCode)
	require.Equal(t, "keys.yaml, line 3: no\n", text(t, r))
}

// TestSlowAndLarge: who says nothing, or too much, is let go.
func TestSlowAndLarge(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, Handler(options(&fake{}))) }()
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	go io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 2*maxHeader)+"\r\n\r\n") // ends with c
	answer, err := io.ReadAll(c)
	if err == nil || len(answer) > 0 { // else the reset came before the answer
		require.Contains(t, string(answer), "431")
	}
	stop()
	require.NoError(t, <-done)
	_, err = net.Dial("tcp", l.Addr().String())
	require.Error(t, err, "the address is closed")
}

// TestCrowd: more connections than there may be wait, and get their answer when
// others leave; with as many open the end comes all the same.
func TestCrowd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, Handler(options(&fake{}))) }()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		_, err = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		require.NoError(t, err)
		return c
	}
	answered := func(c net.Conn) {
		t.Helper()
		_, err := io.ReadFull(c, make([]byte, len("HTTP/1.1 200 OK")))
		require.NoError(t, err)
	}
	inside := make([]net.Conn, maxConns)
	for i := range inside {
		inside[i] = dial()
		answered(inside[i])
	}
	late := dial()
	late.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	_, err = late.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	late.SetReadDeadline(time.Now().Add(patience))
	inside[7].Close()
	answered(late)
	stop()
	require.NoError(t, <-done)
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{"10102", "host", ":port", "127.0.0.1:70000", "::1:10102"} {
		require.ErrorContains(t, Settings{Address: bad}.Check(), "--admin", bad)
	}
	for _, good := range []string{"127.0.0.1:10102", ":10102", "[::1]:0", "localhost:10103"} {
		require.NoError(t, Settings{Address: good}.Check(), good)
	}
	require.ErrorContains(t, Settings{Profiles: true}.Check(), "--pprof")
	require.NoError(t, Settings{}.Check())

	near, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer near.Close()
	require.False(t, Exposed(near))
	require.Equal(t, []string{"here"}, HostsOf("here:1", near))
	everywhere, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	defer everywhere.Close()
	require.True(t, Exposed(everywhere))
	require.Nil(t, HostsOf(":1", everywhere))
}
