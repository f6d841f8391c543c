//go:build unix

package pool

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// held collects what is written to a connection, so that it goes out with more.
type held struct {
	net.Conn
	on  bool
	buf []byte
}

func (h *held) Write(p []byte) (int, error) {
	if !h.on {
		return h.Conn.Write(p)
	}
	h.buf = append(h.buf, p...)
	return len(p), nil
}

// junkServer is a TLS server that reads nothing after the handshake. What its
// clients have to answer to junk finds the window shut.
type junkServer struct {
	cfg   LocalConfig
	conns chan *tls.Conn // after the handshake
}

func newJunkServer(t *testing.T) *junkServer {
	ca := newAuthority(t, "server.example")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &junkServer{conns: make(chan *tls.Conn, 100)}
	var running sync.WaitGroup
	running.Go(func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			c.(*net.TCPConn).SetReadBuffer(4 << 10)
			secured := tls.Server(&held{Conn: c}, &tls.Config{Certificates: ca.server.Certificates})
			if secured.Handshake() == nil {
				s.conns <- secured
			}
		}
	})
	t.Cleanup(running.Wait)
	t.Cleanup(func() { l.Close() })
	s.cfg = LocalConfig{
		Address: l.Addr().String(), KeepAlive: -1, Limits: Limits{MinCap: -1, MaxOpen: 1},
		TLS: &tls.Config{RootCAs: ca.client.RootCAs, ServerName: "server.example"},
	}
	return s
}

// shutWindow writes below TLS until the socket takes no more.
func shutWindow(t *testing.T, c *Conn) {
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	much := make([]byte, 64<<10)
	for quiet := 0; quiet < 20; quiet++ { // the other side's buffer takes some on its way
		require.NoError(t, raw.Control(func(fd uintptr) {
			for size := len(much); size > 0; size /= 2 {
				for n, err := 0, error(nil); err == nil; {
					if n, err = syscall.Write(int(fd), much[:size]); n > 0 {
						quiet = 0
					}
				}
			}
		}))
		time.Sleep(10 * time.Millisecond)
	}
}

// requireSoon fails when f takes as long as somebody else likes.
func requireSoon(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { // ends with f
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Errorf("%s hangs", what)
	}
}

var junk = append([]byte{23, 3, 3, 0, 64}, make([]byte, 64)...)

// TestTLSAnswersHoldUpNobody: TLS may want to answer what a server says on an idle
// connection. One that does not read it holds up neither the sweep, and with it
// Close, nor who gets a connection or puts one back.
func TestTLSAnswersHoldUpNobody(t *testing.T) {
	for name, what := range map[string]func(t *testing.T, p *Pool, c *Conn, server *tls.Conn){
		"Close, sweep": func(t *testing.T, p *Pool, c *Conn, server *tls.Conn) {
			p.Put(c.ID(), c)
			require.Equal(t, 1, p.Active())
			server.NetConn().Write(junk)
			require.Eventually(t, func() bool { return p.Stats().Closed[ClosedDead] == 1 }, 5*time.Second, time.Millisecond)
		},
		"Get": func(t *testing.T, p *Pool, c *Conn, server *tls.Conn) {
			p.Put(c.ID(), c)
			server.NetConn().Write(junk)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			requireSoon(t, "Get", func() {
				if c, err := p.Get(ctx); err == nil {
					c.Close()
				}
			})
		},
		"Put": func(t *testing.T, p *Pool, c *Conn, server *tls.Conn) {
			server.NetConn().Write(junk)
			require.Eventually(t, func() bool { return probe(c.entry.raw) == livenessReadable }, 10*time.Second, time.Millisecond)
			requireSoon(t, "Put", func() { p.Put(c.ID(), c) })
		},
		"Put, read by TLS": func(t *testing.T, p *Pool, c *Conn, server *tls.Conn) {
			below := server.NetConn().(*held)
			below.on = true
			_, err := server.Write([]byte("x"))
			require.NoError(t, err)
			_, err = below.Conn.Write(append(below.buf, junk...))
			require.NoError(t, err)
			_, err = c.Read(make([]byte, 1))
			require.NoError(t, err)
			requireSoon(t, "Put", func() { p.Put(c.ID(), c) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newJunkServer(t)
			p, err := NewLocal(s.cfg)
			require.NoError(t, err)
			c := mustGet(t, p)
			server := <-s.conns
			shutWindow(t, c)
			what(t, p, c, server)
			requireSoon(t, "Close", p.Close)
			server.NetConn().Close() // which ends what hangs
			p.Close()
		})
	}
}

// TestTLSAloneProvesNothing: a server that goes on saying something to TLS is
// checked all the same.
func TestTLSAloneProvesNothing(t *testing.T) {
	s := newJunkServer(t)
	s.cfg.CheckEvery = time.Second
	s.cfg.Check = func(context.Context, *Conn) error { return nil }
	p := keep(t)(NewLocal(s.cfg))
	c := mustGet(t, p)
	server := <-s.conns
	p.Put(c.ID(), c)
	record := append([]byte{23, 3, 3, 64, 0}, make([]byte, 1000)...) // the rest is never sent
	for next := 0; p.Stats().Checks == 0; next++ {
		require.Less(t, next, 60, "bytes, and no check")
		_, err := server.NetConn().Write(record[next : next+1])
		require.NoError(t, err)
		time.Sleep(100 * time.Millisecond)
	}
	require.Empty(t, p.Stats().Closed)
}
