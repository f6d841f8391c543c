package tunnel

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// patience bounds every wait of a test; only a failure lasts that long.
const patience = 20 * time.Second

// tick is how often a state is looked at that no event tells of.
const tick = 2 * time.Millisecond

// recorder is a Logger whose lines a test can wait for.
type recorder struct {
	mu    sync.Mutex
	lines []string
}

func (r *recorder) add(level, format string, args []any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, level+" "+fmt.Sprintf(format, args...))
}
func (r *recorder) Debug(format string, args ...any) { r.add("DEBUG", format, args) }
func (r *recorder) Info(format string, args ...any)  { r.add("INFO", format, args) }
func (r *recorder) Warn(format string, args ...any)  { r.add("WARN", format, args) }
func (r *recorder) Error(format string, args ...any) { r.add("ERROR", format, args) }

func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

// tail is what a failed test shows.
func (r *recorder) tail() string {
	lines := strings.Split(r.text(), "\n")
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}

func (r *recorder) count(part string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, line := range r.lines {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}

// find waits for a line that contains part, and returns it.
func (r *recorder) find(t testing.TB, part string) (found string) {
	t.Helper()
	eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, line := range r.lines {
			if strings.Contains(line, part) {
				found = line
				return true
			}
		}
		return false
	}, func() string { return fmt.Sprintf("no line with %q in\n%s", part, r.text()) })
	return found
}

func eventually(t testing.TB, ok func() bool, why func() string) {
	t.Helper()
	for limit := time.Now().Add(patience); !ok(); time.Sleep(tick) {
		if time.Now().After(limit) {
			t.Fatalf("not in time: %s", why())
		}
	}
}

const testHost = "tunnel.test"

// authority is the CA of mode 2, which lives in memory.
var authority = sync.OnceValues(func() (server tls.Certificate, roots *x509.CertPool) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(err)
	ca, err = x509.ParseCertificate(der)
	must(err)
	roots = x509.NewCertPool()
	roots.AddCert(ca)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{testHost}}
	der, err = x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	must(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
})

var modes = []pool.TLSMode{pool.TLSPlain, pool.TLSSelfSigned, pool.TLSVerified}

func inEachMode(t *testing.T, test func(t *testing.T, mode pool.TLSMode)) {
	for _, mode := range modes {
		t.Run("mode "+string(mode), func(t *testing.T) { test(t, mode) })
	}
}

// host is a server at work.
type host struct {
	*Server
	log  *recorder
	key  pool.Key
	mode pool.TLSMode
	stop context.CancelFunc // drains
	done chan struct{}      // closed when Run is over
}

func (h *host) addr() string { return h.Addr().String() }

// startServer runs a server on a loopback port until the test ends.
func startServer(t testing.TB, mode pool.TLSMode, change ...func(*ServerConfig)) *host {
	t.Helper()
	h := &host{log: new(recorder), key: pool.NewKey(), mode: mode, done: make(chan struct{})}
	cfg := ServerConfig{Listen: "127.0.0.1:0", Bind: "127.0.0.1", TLS: mode, Keys: []pool.Key{h.key}, Logger: h.log}
	if mode == pool.TLSVerified {
		cert, _ := authority()
		cfg.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	h.Server, err = NewServer(cfg)
	require.NoError(t, err)
	var ctx context.Context
	ctx, h.stop = context.WithCancel(context.Background())
	go func() {
		defer close(h.done)
		if err := h.Run(ctx); err != nil {
			t.Errorf("Server.Run: %v", err)
		}
	}()
	t.Cleanup(func() {
		h.Close()
		h.stop()
		<-h.done
		if t.Failed() {
			t.Logf("the server's log:\n%s", h.log.tail())
		}
	})
	return h
}

// guest is a client at work.
type guest struct {
	*Client
	log  *recorder
	stop context.CancelFunc // drains
	done chan struct{}
}

// clientConfig fits a host, with one service on a port of the server's choice.
func (h *host) clientConfig(target string) ClientConfig {
	cfg := ClientConfig{
		Server: h.addr(), Key: h.key, TLS: h.mode, Name: "guest",
		Services: []Service{{Name: "web", Target: target}},
		PoolMin:  8, PoolMax: 64, Drain: 5 * time.Second,
	}
	if h.mode == pool.TLSVerified {
		_, roots := authority()
		cfg.TLSConfig, cfg.ServerName = &tls.Config{RootCAs: roots}, testHost
	}
	return cfg
}

// runClient runs a client until the test ends.
func runClient(t testing.TB, cfg ClientConfig) *guest {
	t.Helper()
	return runClientWith(t, cfg, func(*Client) {})
}

// runClientWith runs a client that is changed first.
func runClientWith(t testing.TB, cfg ClientConfig, change func(*Client)) *guest {
	t.Helper()
	g := &guest{log: new(recorder), done: make(chan struct{})}
	cfg.Logger = g.log
	var err error
	g.Client, err = NewClient(cfg)
	require.NoError(t, err)
	change(g.Client)
	var ctx context.Context
	ctx, g.stop = context.WithCancel(context.Background())
	go func() {
		defer close(g.done)
		if err := g.Run(ctx); err != nil {
			t.Errorf("Client.Run: %v", err)
		}
	}()
	t.Cleanup(func() {
		g.Close()
		g.stop()
		<-g.done
		if t.Failed() {
			t.Logf("the client's log:\n%s", g.log.tail())
		}
	})
	return g
}

// up waits until every service is up and the pool is warm.
func (g *guest) up(t testing.TB) *guest {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, g.Up(ctx), "%s", g.log.text())
	eventually(t, func() bool { return g.Stats().Pool.Idle >= g.cfg.Load().PoolMin },
		func() string { return "the pool does not warm up\n" + g.log.text() })
	return g
}

// startClient runs a client of h and waits until it is up and warm.
func startClient(t testing.TB, h *host, target string, change ...func(*ClientConfig)) *guest {
	t.Helper()
	cfg := h.clientConfig(target)
	for _, f := range change {
		f(&cfg)
	}
	return runClient(t, cfg).up(t)
}

// public is where users reach the i-th service.
func (g *guest) public(i int) string { return g.Services()[i].Addr }

// dial connects as a user.
func (g *guest) dial(t testing.TB) *net.TCPConn { t.Helper(); return dialUser(t, g.public(0)) }

func dialUser(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	require.NoError(t, err)
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// startTarget serves each connection with handle, in a goroutine of its own,
// until the test ends.
func startTarget(t testing.TB, handle func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[c] = true
			mu.Unlock()
			wg.Go(func() {
				handle(c.(*net.TCPConn))
				c.Close()
				mu.Lock()
				delete(conns, c)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// echo answers with what it is sent.
func echo(c *net.TCPConn) { io.Copy(c, c) }

// send and receive are one half of a conversation.
func send(t testing.TB, c net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(c, text)
	require.NoError(t, err)
}

func receive(t testing.TB, c net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	_, err := io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, text, string(got))
}

// works takes one user through an echo.
func works(t testing.TB, g *guest) {
	t.Helper()
	c := g.dial(t)
	send(t, c, "works?")
	receive(t, c, "works?")
	c.Close()
}

// reset makes the peer of c see a reset.
func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}
