package interop

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	nodepass "github.com/NodePassProject/pool"
	"github.com/stretchr/testify/require"

	tunnelpool "github.com/tunnelpool/pool"
)

const (
	keepAlive = 30 * time.Second
	often     = 10 * time.Millisecond
	enough    = 20 * time.Second // for whatever is waited for
)

// pool is what both libraries' pools are to a pair.
type pool interface {
	ClientManager()
	ServerManager()
	IncomingGet(timeout time.Duration) (string, net.Conn, error)
	OutgoingGet(id string, timeout time.Duration) (net.Conn, error)
	Active() int
	Flush()
	Close()
}

// pair is a server pool of one library and a client pool of the other, running.
type pair struct {
	server, client pool
	listener       net.Listener
	close          func() // may be called twice
}

// ends makes the two pools of a pair, for n connections in a TLS mode.
type ends struct {
	name   string
	server func(t *testing.T, mode string, n int, l net.Listener) pool
	client func(t *testing.T, mode string, n int, dial func() (net.Conn, error)) pool
}

var (
	ourServer   = ends{"our server", newOurServer, newTheirClient}
	theirServer = ends{"their server", newTheirServer, newOurClient}
	both        = []ends{ourServer, theirServer}
)

func newOurServer(t *testing.T, mode string, n int, l net.Listener) pool {
	p, err := tunnelpool.NewServer(tunnelpool.ServerConfig{
		Listener: l, TLS: tunnelpool.TLSMode(mode), TLSConfig: serverTLS(mode),
		ShortIDs: true, Limits: tunnelpool.Limits{MaxCap: n},
	})
	require.NoError(t, err)
	return p
}

func newOurClient(t *testing.T, mode string, n int, dial func() (net.Conn, error)) pool {
	return newClient(t, mode, n, dial, tunnelpool.ClientConfig{ShortIDs: true})
}

func newClient(t *testing.T, mode string, n int, dial func() (net.Conn, error), cfg tunnelpool.ClientConfig) pool {
	cfg.Dial = func(context.Context) (net.Conn, error) { return dial() } // loopback does not hang
	cfg.Security = tunnelpool.Security{
		TLS: tunnelpool.TLSMode(mode), TLSConfig: &tls.Config{RootCAs: authority}, ServerName: serverName,
	}
	cfg.MinInterval = often
	cfg.Limits = tunnelpool.Limits{MinCap: n, MaxCap: n}
	p, err := tunnelpool.NewClient(cfg)
	require.NoError(t, err)
	return p
}

// newTheirServer may hold twice as many: it tells an ID before it looks whether
// there is room, and then closes.
func newTheirServer(_ *testing.T, mode string, n int, l net.Listener) pool {
	return nodepass.NewServerPool(2*n, "", serverTLS(mode), l, keepAlive)
}

func newTheirClient(_ *testing.T, mode string, n int, dial func() (net.Conn, error)) pool {
	return nodepass.NewClientPool(n, n, often, often, keepAlive, mode, serverName, dial)
}

func serverTLS(mode string) *tls.Config {
	if mode == "0" {
		return nil
	}
	return &tls.Config{Certificates: []tls.Certificate{serverCertificate}}
}

// open starts a pair and waits until n connections are idle at both ends: so no
// get of v1.0.50 waits, which could lose a connection. Its server offers an ID
// before the connection that belongs to it.
func (e ends) open(t *testing.T, mode string, n int) *pair {
	t.Helper()
	p := e.start(t, mode, n)
	p.whole(t, n)
	return p
}

func (e ends) start(t *testing.T, mode string, n int) *pair {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	dial := func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }
	p := &pair{server: e.server(t, mode, n, l), client: e.client(t, mode, n, dial), listener: l}
	var managers sync.WaitGroup
	managers.Go(p.server.ServerManager) // end with Close and the listener
	managers.Go(p.client.ClientManager)
	p.close = sync.OnceFunc(func() {
		p.client.Close()
		l.Close() // v1.0.50 leaves it open
		p.server.Close()
		managers.Wait()
	})
	t.Cleanup(p.close)
	return p
}

// whole waits until n connections are idle at both ends.
func (p *pair) whole(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		return p.server.Active() >= n && p.client.Active() >= n
	}, enough, time.Millisecond, "%d idle at both ends", n)
}

// take hands both ends of one connection out.
func (p *pair) take(t *testing.T) (near, far net.Conn) {
	t.Helper()
	id, near, err := p.server.IncomingGet(enough)
	require.NoError(t, err)
	far, err = p.client.OutgoingGet(id, enough)
	require.NoError(t, err)
	return near, far
}

// requireEcho sends a byte through both directions and closes.
func requireEcho(t *testing.T, near, far net.Conn) {
	t.Helper()
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		_, err := way[0].Write([]byte("!"))
		require.NoError(t, err)
		got := make([]byte, 1)
		require.NoError(t, way[1].SetReadDeadline(time.Now().Add(enough)))
		_, err = way[1].Read(got)
		require.NoError(t, err)
		require.Equal(t, "!", string(got))
	}
	near.Close()
	far.Close()
}

// requireEnded checks that the other side of a connection was closed.
func requireEnded(t *testing.T, c net.Conn) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(enough)))
	n, err := c.Read(make([]byte, 1))
	require.Zero(t, n)
	require.Error(t, err)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	timeout, ok := err.(net.Error)
	require.False(t, ok && timeout.Timeout(), "%v", err)
	c.Close()
}
