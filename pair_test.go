package pool

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pair is a server pool and a client pool on a loopback port, both running.
type pair struct {
	server, client *Pool
	listener       net.Listener
}

// openPair makes one in that mode; the configs hold what else matters.
func openPair(t testing.TB, mode TLSMode, serverConfig ServerConfig, clientConfig ClientConfig) *pair {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	serverConfig.Listener, serverConfig.TLS = l, mode
	clientConfig.Security.TLS = mode
	if mode == TLSVerified {
		authority := newAuthority(t, "tunnel.example")
		serverConfig.TLSConfig = authority.server
		clientConfig.Security.TLSConfig = authority.client
		clientConfig.Security.ServerName = "tunnel.example"
	}
	var dialer net.Dialer
	if clientConfig.Dial == nil {
		clientConfig.Dial = func(ctx context.Context) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", l.Addr().String())
		}
	}
	return &pair{
		server:   run(t, keep(t)(NewServer(serverConfig))),
		client:   run(t, keep(t)(NewClient(clientConfig))),
		listener: l,
	}
}

// full waits until n connections are idle on both sides.
func (p *pair) full(t testing.TB, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		return p.server.Active() == n && p.client.Active() == n
	}, 10*time.Second, 2*time.Millisecond, "%d idle on both sides", n)
}

// take hands one connection out, both ends of it.
func (p *pair) take(t testing.TB) (server, client *Conn) {
	t.Helper()
	server = mustGet(t, p.server)
	c, err := p.client.ClientGet(server.ID())
	require.NoError(t, err)
	return server, c.(*Conn)
}

// allModes runs a test in each TLS mode.
func allModes(t *testing.T, f func(t *testing.T, mode TLSMode)) {
	for _, mode := range []TLSMode{TLSPlain, TLSSelfSigned, TLSVerified} {
		t.Run("mode "+string(mode), func(t *testing.T) { f(t, mode) })
	}
}
