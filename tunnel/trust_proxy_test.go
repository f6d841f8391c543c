package tunnel

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/proxyheader"
)

// trusting takes the word of proxies on this machine.
func trusting(cfg *ServerConfig) {
	cfg.TrustProxy = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

// patientWithProxies changes how long they may take, before there is a port.
func (h *host) patientWithProxies(wait time.Duration) {
	h.mu.Lock() // as who opens the port does after it
	defer h.mu.Unlock()
	h.proxies.wait = wait
}

// headerFor is what a proxy says of a user.
func headerFor(v proxyheader.Version, user string) []byte {
	return proxyheader.Format(v, netip.MustParseAddrPort(user), netip.MustParseAddrPort("198.51.100.7:443"))
}

// TestTrustedProxy: the address in its header is the user's, to the target as to
// the log, and the user's bytes are whole, however the proxy sends them.
func TestTrustedProxy(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		h := startServer(t, mode, trusting)
		g := startClient(t, h, introduced(t), withHeader("v2"))
		for _, v := range []proxyheader.Version{proxyheader.V1, proxyheader.V2} {
			for _, address := range []string{"192.0.2.1:4000", "[2001:db8::1]:4000"} {
				header := headerFor(v, address)
				for _, first := range []int{0, 1, 15, 16, len(header) - 1, len(header)} { // bytes of it by themselves
					user := g.dial(t)
					whole := append(header[:len(header):len(header)], "hello"...)
					_, err := user.Write(whole[:first])
					require.NoError(t, err)
					_, err = user.Write(whole[first:])
					require.NoError(t, err)
					require.NoError(t, user.CloseWrite())
					got, err := io.ReadAll(user)
					require.NoError(t, err)
					require.Contains(t, string(got), "v2 "+address+" > ")
					require.Contains(t, string(got), ": hello")
					user.Close()
				}
			}
		}
		require.Zero(t, h.Stats().Headerless)
	})
}

// TestProxySpeaksForItself: without an address of a user, its own is taken.
func TestProxySpeaksForItself(t *testing.T) {
	h := startServer(t, pool.TLSPlain, trusting)
	g := startClient(t, h, introduced(t), withHeader("v1"))
	for _, v := range []proxyheader.Version{proxyheader.V1, proxyheader.V2} {
		user := g.dial(t)
		_, err := user.Write(proxyheader.Format(v, netip.AddrPort{}, netip.AddrPort{}))
		require.NoError(t, err)
		require.NoError(t, user.CloseWrite())
		got, err := io.ReadAll(user)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("v1 %v > %v: ", user.LocalAddr(), g.public(0)), string(got))
	}
}

// TestStrangersHeader: what one who is not trusted says of addresses is no more
// than a user's bytes.
func TestStrangersHeader(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) {
		cfg.TrustProxy = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	})
	g := startClient(t, h, introduced(t), withHeader("v2"))
	user := g.dial(t)
	lie := string(headerFor(proxyheader.V1, "192.0.2.1:4000"))
	send(t, user, lie)
	require.NoError(t, user.CloseWrite())
	got, err := io.ReadAll(user)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("v2 %v > %v: %s", user.LocalAddr(), g.public(0), lie), string(got))
}

// TestProxyWithoutHeader: one that sends none, or is slow with it, is reset and
// counted; the log tells of it now and then. One that only looks is neither.
func TestProxyWithoutHeader(t *testing.T) {
	h := startServer(t, pool.TLSPlain, trusting)
	h.patientWithProxies(50 * time.Millisecond)
	g := startClient(t, h, startTarget(t, echo))
	gone := func(c net.Conn) {
		t.Helper()
		_, err := io.ReadAll(c)
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
	looking := g.dial(t)
	looking.Close()
	other := g.dial(t)
	reset(other)

	for n, said := range []string{"GET / HTTP/1.1\r\nHost: \x1b[31m\r\n\r\n", "PROXY TCP4 \x1b[31m 1 1 1\r\n", "", "PROXY TCP4 192.0.2.1 "} {
		user := g.dial(t)
		send(t, user, said)
		gone(user)
		eventually(t, func() bool { return h.Stats().Headerless == uint64(n+1) }, h.log.text)
	}
	user := g.dial(t)
	send(t, user, "PROXY TCP4 192.0.2.1 ")
	user.CloseWrite()
	gone(user)
	eventually(t, func() bool { return h.Stats().Headerless == 5 }, h.log.text)
	require.Equal(t, 1, h.log.count("must send a header of the PROXY protocol"), h.log.text())
	require.Contains(t, h.log.text(), `"guest": service "web": a user by the proxy 127.0.0.1:`)
	require.NotContains(t, h.log.text(), "\x1b")
	require.Zero(t, g.Stats().Streams)

	user = g.dial(t) // all places are free, and it is served as any other
	_, err := user.Write(append(headerFor(proxyheader.V2, "192.0.2.1:4000"), "works?"...))
	require.NoError(t, err)
	receive(t, user, "works?")
}

// TestProxiedEnds: half-close and reset are carried both ways for a user behind a
// proxy as for others.
func TestProxiedEnds(t *testing.T) {
	targets := make(chan *net.TCPConn)
	done := make(chan struct{})
	h := startServer(t, pool.TLSPlain, trusting)
	g := startClient(t, h, startTarget(t, func(c *net.TCPConn) { targets <- c; <-done }))
	defer close(done)
	come := func() (user, target *net.TCPConn) {
		user = g.dial(t)
		_, err := user.Write(append(headerFor(proxyheader.V1, "192.0.2.1:4000"), "x"...))
		require.NoError(t, err)
		target = <-targets
		target.SetDeadline(time.Now().Add(patience))
		receive(t, target, "x")
		return user, target
	}
	user, target := come()
	require.NoError(t, user.CloseWrite())
	_, err := io.ReadAll(target)
	require.NoError(t, err)
	send(t, target, "answer")
	require.NoError(t, target.CloseWrite())
	got, err := io.ReadAll(user)
	require.NoError(t, err)
	require.Equal(t, "answer", string(got))

	user, target = come()
	reset(user)
	_, err = io.ReadAll(target)
	require.ErrorIs(t, err, syscall.ECONNRESET)

	user, target = come()
	reset(target)
	_, err = io.ReadAll(user)
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

// TestCloseDuringHeader: a server that ends does not wait for a proxy that says
// nothing.
func TestCloseDuringHeader(t *testing.T) {
	h := startServer(t, pool.TLSPlain, trusting)
	h.patientWithProxies(time.Hour)
	g := startClient(t, h, startTarget(t, echo))
	user := g.dial(t)
	send(t, user, "PROXY ")
	h.Close()
	select {
	case <-h.done:
	case <-time.After(patience):
		t.Fatal("the server waits")
	}
}

// TestTrustedProxyAndPrefixes: who may come is decided by the address that the
// proxy gives, and the proxy's own counts for nothing.
func TestTrustedProxyAndPrefixes(t *testing.T) {
	h := startServer(t, pool.TLSPlain, trusting)
	g := startClient(t, h, startTarget(t, echo), func(cfg *ClientConfig) {
		cfg.Services[0].AllowFrom = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	})
	user := g.dial(t)
	user.Write(headerFor(proxyheader.V2, "203.0.113.7:1234"))
	send(t, user, "let in")
	receive(t, user, "let in")

	other := g.dial(t)
	other.Write(headerFor(proxyheader.V2, "198.51.100.7:1234"))
	_, err := other.Read(make([]byte, 1))
	require.Error(t, err)
	require.False(t, isTimeout(err))
	h.log.find(t, "User 198.51.100.7:1234 on ")
	require.EqualValues(t, 1, h.Stats().Elsewhere)
}
