package tunnel

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
)

// security is what a client in h's mode goes through, without a key.
func (h *host) security() pool.Security {
	cfg := h.clientConfig("")
	return pool.Security{TLS: h.mode, TLSConfig: cfg.TLSConfig, ServerName: cfg.ServerName}
}

// knock goes through h's front door by hand.
func (h *host) knock(t testing.TB, key pool.Key, kind pool.Kind, hello []byte) (net.Conn, error) {
	t.Helper()
	raw, err := net.Dial("tcp", h.addr())
	require.NoError(t, err)
	sec := h.security()
	sec.Key, sec.Kind, sec.Hello = key, kind, hello
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := sec.Secure(ctx, raw)
	if err == nil {
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(patience))
	}
	return conn, err
}

// join makes a session by hand: the test is the client.
func (h *host) join(t testing.TB, key pool.Key, name string) (net.Conn, wire.Welcome) {
	t.Helper()
	j := wire.Join{Name: name}
	rand.Read(j.Identity[:])
	rand.Read(j.Instance[:])
	return h.joinAs(t, key, j)
}

// joinAs makes a session of a certain client by hand.
func (h *host) joinAs(t testing.TB, key pool.Key, j wire.Join) (net.Conn, wire.Welcome) {
	t.Helper()
	conn, err := h.knock(t, key, wire.KindControl, wire.AppendJoin(nil, j))
	require.NoError(t, err)
	m, err := wire.ReadMessage(conn, nil)
	require.NoError(t, err)
	require.IsType(t, wire.Welcome{}, m)
	return conn, m.(wire.Welcome)
}

func TestWrongKey(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		h := startServer(t, mode)
		cfg := h.clientConfig("localhost:1")
		cfg.Key = pool.NewKey()
		g := runClient(t, cfg)
		t.Log(g.log.find(t, "refused the key: use the one that 'tunnel-server key show' prints"))
		t.Log(h.log.find(t, "unknown key or session (key ID "+cfg.Key.ID().String()+")"))

		// One who knows a good key's ID, which is no secret, and not the key.
		_, err := h.knock(t, h.key.Session([]byte("a guess")), wire.KindControl, wire.AppendJoin(nil, wire.Join{Name: "x"}))
		require.ErrorIs(t, err, pool.ErrRefused)
		t.Log(h.log.find(t, "wrong proof of the key (key ID "+h.key.ID().String()+")"))
		require.Zero(t, h.Stats().Sessions)
		require.Zero(t, h.Stats().Door.Accepted)
	})
}

// TestNoKey: a raw client without a proof.
func TestNoKey(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		h := startServer(t, mode)
		conn, err := h.knock(t, pool.Key{}, 0, nil) // TLS at most
		require.NoError(t, err)
		send(t, conn, "GET / HTTP/1.1\r\nHost: public\r\n\r\n")
		got, _ := io.ReadAll(conn)
		require.Empty(t, got)
		t.Log(h.log.find(t, "not a hello of this protocol version"))
		require.Zero(t, h.Stats().Door.Accepted)
	})
}

// wiretap passes bytes on between clients and an address, and keeps what the
// clients said, one record for each connection.
type wiretap struct {
	net.Listener
	mu      sync.Mutex
	records [][]byte
}

func startWiretap(t *testing.T, to string) *wiretap {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &wiretap{Listener: l}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			w.mu.Lock()
			w.records = append(w.records, nil)
			record := len(w.records) - 1
			w.mu.Unlock()
			wg.Go(func() {
				defer out.Close()
				buf := make([]byte, 4096)
				for {
					n, err := in.Read(buf)
					w.mu.Lock()
					w.records[record] = append(w.records[record], buf[:n]...)
					w.mu.Unlock()
					if _, werr := out.Write(buf[:n]); werr != nil || err != nil {
						return
					}
				}
			})
			wg.Go(func() { io.Copy(in, out); in.Close() })
		}
	})
	return w
}

// TestReplay: what a client said on a path without TLS is worth nothing to who
// recorded it.
func TestReplay(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	w := startWiretap(t, h.addr())
	g := startClient(t, h, startTarget(t, echo), func(cfg *ClientConfig) { cfg.Server = w.Addr().String() })
	works(t, g)
	w.mu.Lock()
	records := w.records
	w.mu.Unlock()
	accepted := h.Stats().Door.Accepted
	for i, record := range records[:4] { // control, and pooled ones
		conn, err := net.Dial("tcp", h.addr())
		require.NoError(t, err)
		conn.SetDeadline(time.Now().Add(patience))
		_, err = conn.Write(record)
		require.NoError(t, err)
		got, _ := io.ReadAll(conn)
		require.LessOrEqual(t, len(got), 32, "connection %d got more than a nonce", i)
		conn.Close()
	}
	eventually(t, func() bool { return h.log.count("wrong proof of the key") == 4 }, h.log.text)
	t.Log(h.log.find(t, "wrong proof of the key"))
	require.Equal(t, accepted, h.Stats().Door.Accepted)
	works(t, g)
}

// TestOtherSession: neither another key nor another session of the same key
// opens a session's pool.
func TestOtherSession(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		b := pool.NewKey()
		h := startServer(t, mode, func(cfg *ServerConfig) { cfg.Keys = append(cfg.Keys, b) })
		a := h.key
		_, one := h.join(t, a, "one")
		_, two := h.join(t, a, "two")
		_, other := h.join(t, b, "other")

		try := func(key pool.Key, secret wire.Secret, session [wire.SessionSize]byte) error {
			conn, err := h.knock(t, key.Session(secret[:]), wire.KindPool, session[:])
			if err != nil {
				return err
			}
			_, err = io.ReadFull(conn, make([]byte, 8))
			return err
		}
		require.NoError(t, try(a, one.Secret, one.Session))
		require.ErrorIs(t, try(b, other.Secret, one.Session), pool.ErrRefused, "another key")
		t.Log(h.log.find(t, "unknown key or session (key ID "+b.ID().String()+")"))
		require.ErrorIs(t, try(a, two.Secret, one.Session), pool.ErrRefused, "another session's secret")
		t.Log(h.log.find(t, "wrong proof of the key (key ID "+a.ID().String()+")"))
		_, err := h.knock(t, a, wire.KindPool, one.Session[:])
		require.ErrorIs(t, err, pool.ErrRefused, "the key alone")
		_, err = h.knock(t, a.Session(one.Secret[:]), wire.KindControl, wire.AppendJoin(nil, wire.Join{Name: "x"}))
		require.ErrorIs(t, err, pool.ErrRefused, "a pooled connection's proof for control")
		_, err = h.knock(t, a, wire.KindCarrier, one.Session[:])
		require.ErrorIs(t, err, pool.ErrRefused, "a kind that is not served")
		created := func() (n uint64) {
			for _, p := range h.Stats().Pools {
				n += p.Created
			}
			return n
		}
		eventually(t, func() bool { return created() > 0 }, h.log.text)
		require.EqualValues(t, 1, created())
	})
}

// TestManInTheMiddle: one with a certificate of his own, who passes on what he
// reads, and one who plays the server.
func TestManInTheMiddle(t *testing.T) {
	h := startServer(t, pool.TLSSelfSigned)
	cert, _ := authority()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	require.NoError(t, err)
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	pass := make(chan bool, 1)
	pass <- true
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			through := <-pass
			pass <- through
			wg.Go(func() {
				defer in.Close()
				if !through {
					in.Read(make([]byte, 512))
					in.Write(make([]byte, 32))
					io.Copy(io.Discard, in)
					return
				}
				out, err := tls.Dial("tcp", h.addr(), &tls.Config{InsecureSkipVerify: true})
				if err != nil {
					return
				}
				defer out.Close()
				wg.Go(func() { io.Copy(out, in); out.Close() })
				io.Copy(in, out)
			})
		}
	})
	cfg := h.clientConfig("localhost:1")
	cfg.Server = l.Addr().String()
	g := runClient(t, cfg)
	t.Log(h.log.find(t, "wrong proof of the key (key ID "+h.key.ID().String()+")"))
	t.Log(g.log.find(t, "refused the key"))
	<-pass
	pass <- false
	t.Log(g.log.find(t, "does not hold our key: it is not the server, or someone sits between"))
	require.Zero(t, h.Stats().Sessions)
}

func TestWrongCertificate(t *testing.T) {
	h := startServer(t, pool.TLSVerified)
	cfg := h.clientConfig("localhost:1")
	cfg.ServerName = "other.test"
	t.Log(runClient(t, cfg).log.find(t, `certificate is not for "other.test"`))
	t.Log(h.log.find(t, "(tls): "))
	cfg = h.clientConfig("localhost:1")
	cfg.TLSConfig = nil // the system's roots
	t.Log(runClient(t, cfg).log.find(t, "is not trusted: its issuer is unknown here; give it with --tls-ca"))
	require.Zero(t, h.Stats().Door.Accepted)
}

func TestModesDiffer(t *testing.T) {
	for _, tt := range []struct{ server, client pool.TLSMode }{
		{pool.TLSPlain, pool.TLSSelfSigned}, {pool.TLSSelfSigned, pool.TLSPlain},
	} {
		h := startServer(t, tt.server)
		cfg := h.clientConfig("localhost:1")
		cfg.TLS = tt.client
		t.Log(runClient(t, cfg).log.find(t, "use different TLS modes"))
		t.Log(h.log.find(t, "(tls): "))
	}
}

// TestStrangers: whoever comes to the server's port without the key never
// reaches a user and is told no ID, while users are served.
func TestStrangers(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		h := startServer(t, mode, func(cfg *ServerConfig) { cfg.HandshakeTimeout = time.Second })
		g := startClient(t, h, startTarget(t, echo))
		said := make(chan string, 100)
		var strangers sync.WaitGroup
		come := func(secured bool, words []byte) {
			strangers.Go(func() {
				var conn net.Conn
				var err error
				if secured {
					conn, err = h.knock(t, pool.Key{}, 0, nil)
				} else {
					conn, err = net.Dial("tcp", h.addr())
				}
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(patience))
				conn.Write(words)
				got, err := io.ReadAll(conn)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("a stranger was let stay")
				}
				said <- string(got)
			})
		}
		hello := append([]byte{1, 1}, make([]byte, 8+1+32)...) // in form, of a key that is not known
		for _, words := range [][]byte{nil, []byte("GET / HTTP/1.1\r\n\r\n"), {1}, make([]byte, 4096), hello, append(hello, make([]byte, 32)...)} {
			for range 3 {
				come(true, words)
				come(false, words)
			}
		}
		for range 50 {
			works(t, g)
		}
		strangers.Wait()
		close(said)
		for got := range said {
			switch {
			case got == "", strings.HasPrefix(got, "\x15\x03"): // a TLS alert
			case mode == pool.TLSPlain && len(got) == 32: // a nonce
			default:
				t.Errorf("a stranger was told %q", got)
			}
		}
		works(t, g)
		eventually(t, func() bool { return h.Stats().Pools[0].Created == g.Stats().Pool.Created },
			func() string { return "the server's pool has connections that the client did not make" })
		t.Logf("36 strangers turned away: %v", h.Stats().Door.Rejected)
	})
}

// TestSilentConnections: 500 connections that say nothing, from the address of
// an honest client, do not keep it out.
func TestSilentConnections(t *testing.T) {
	const deadline = 2 * time.Second
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		h := startServer(t, mode, func(cfg *ServerConfig) { cfg.HandshakeTimeout = deadline })
		target := startTarget(t, echo)
		silent := make([]net.Conn, 500)
		for i := range silent {
			c, err := net.Dial("tcp", h.addr())
			require.NoError(t, err)
			defer c.Close()
			silent[i] = c
		}
		last := time.Now()
		cfg := h.clientConfig(target)
		begun := time.Now()
		g := runClient(t, cfg)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		require.NoError(t, g.Up(ctx))
		works(t, g)
		served := time.Since(begun)
		require.Less(t, served, time.Second)
		for i, c := range silent {
			c.SetReadDeadline(last.Add(deadline + 2*time.Second))
			_, err := c.Read(make([]byte, 1))
			require.Error(t, err)
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "silent connection %d is still there", i)
		}
		gone := time.Since(last)
		eventually(t, func() bool { return h.Stats().Door.InFlight == 0 }, func() string { return "handshakes in flight" })
		t.Logf("connected and served after %v; the silent were gone %v after the last came; %v",
			served.Round(time.Millisecond), gone.Round(time.Millisecond), h.Stats().Door.Rejected)
	})
}

// TestFavoredSource: the address of a live session has a share of the front
// door that others at the same address cannot exhaust as easily, for as long as
// the session lasts or the client may come back to a port.
func TestFavoredSource(t *testing.T) {
	const usual, crowd = 256, 400
	if most := handshakeLimit(descriptorLimit()); most < crowd {
		t.Skipf("the limit of open files allows %d handshakes, and the test needs %d", most, crowd)
	}
	var h *host
	// fill comes with the crowd and returns how many of it find a place.
	fill := func() (placed int) {
		t.Helper()
		before := h.Stats().Door.Rejected[pool.RejectCap]
		var all []net.Conn
		for range crowd {
			c, err := net.Dial("tcp", h.addr())
			require.NoError(t, err)
			all = append(all, c)
		}
		eventually(t, func() bool {
			door := h.Stats().Door
			placed = door.InFlight
			return placed+int(door.Rejected[pool.RejectCap]-before) == crowd
		}, func() string { return fmt.Sprintf("%d handshakes in flight", placed) })
		for _, c := range all {
			c.Close()
		}
		eventually(t, func() bool { return h.Stats().Door.InFlight == 0 }, func() string { return "handshakes in flight" })
		return placed
	}
	h = startServer(t, pool.TLSPlain)
	require.Equal(t, usual, fill())
	var line cable
	g := startClient(t, h, startTarget(t, echo), func(cfg *ClientConfig) { cfg.Dial = line.dial })
	require.Equal(t, crowd, fill())
	works(t, g)
	line.cut()
	h.away(t)
	require.Equal(t, crowd, fill(), "it has a port to come back to")
	line.mend()
	eventually(t, func() bool { return h.Stats().Sessions == 1 }, h.log.tail)
	g.up(t)
	require.Equal(t, crowd, fill())
	g.stop()
	<-g.done
	eventually(t, func() bool { return fill() == usual }, h.log.tail)

	h = startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Linger = 10 * time.Millisecond })
	startClient(t, h, startTarget(t, echo), func(cfg *ClientConfig) { cfg.Dial = line.dial })
	require.Equal(t, crowd, fill())
	line.cut()
	eventually(t, func() bool { return len(h.Stats().Services) == 0 }, h.log.tail)
	eventually(t, func() bool { return fill() == usual }, h.log.tail) // it did not come back
}
