package interop

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	nodepass "github.com/NodePassProject/pool"
	"github.com/stretchr/testify/require"

	tunnelpool "github.com/tunnelpool/pool"
)

// These tests hold what docs/MIGRATION.md says that differs in behaviour: each
// side by side with v1.0.50.

// TestOutAcrossFlushAndClose: v1.0.50's Flush touches idle connections only, as
// our Clean does; our Flush closes those in holders' hands too. Close touches
// none of them in either.
func TestOutAcrossFlushAndClose(t *testing.T) {
	p := theirServer.open(t, "0", 2)
	near, far := p.take(t)
	p.server.Flush()
	requireEcho(t, near, far)

	p = ourServer.open(t, "0", 2)
	near, far = p.take(t)
	p.server.(*tunnelpool.Pool).Clean()
	requireEcho(t, near, far)
	near, far = p.take(t)
	p.server.Flush()
	_, err := near.Write([]byte("!"))
	require.ErrorIs(t, err, net.ErrClosed)
	requireEnded(t, far)

	for _, e := range both {
		p = e.open(t, "0", 2)
		near, far = p.take(t)
		p.close()
		requireEcho(t, near, far)
	}
}

// TestAfterClose: ours is over, and says so; v1.0.50's leaves its listener open,
// calls itself ready, and answers as if it were empty.
func TestAfterClose(t *testing.T) {
	p := theirServer.open(t, "0", 1)
	theirs := p.server.(*nodepass.Pool)
	theirs.Close()
	require.True(t, theirs.Ready())
	_, _, err := theirs.IncomingGet(time.Second)
	require.ErrorContains(t, err, "insufficient pool connections")
	require.NotErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	conn, err := net.Dial("tcp", p.listener.Addr().String())
	require.NoError(t, err)
	conn.Close()

	p = ourServer.open(t, "0", 1)
	ours := p.server.(*tunnelpool.Pool)
	ours.Close()
	_, err = net.Dial("tcp", p.listener.Addr().String())
	require.Error(t, err)
	require.False(t, ours.Ready())
	_, _, err = ours.IncomingGet(time.Second)
	require.ErrorIs(t, err, tunnelpool.ErrClosed)
	require.ErrorIs(t, err, context.Canceled)
}

// TestGetBeforeManager: v1.0.50's manager ends the gets that came before it.
func TestGetBeforeManager(t *testing.T) {
	for name, tt := range map[string]struct {
		pool  func(net.Listener) pool
		fails bool
	}{
		"theirs": {func(l net.Listener) pool { return nodepass.NewServerPool(1, "", nil, l, keepAlive) }, true},
		"ours":   {func(l net.Listener) pool { return tunnelpool.NewServerPool(1, "", nil, l, keepAlive) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &silentListener{closed: make(chan struct{})}
				p := tt.pool(l)
				failed := make(chan error, 1)
				go func() { // ends by its timeout
					_, _, err := p.IncomingGet(time.Minute)
					failed <- err
				}()
				synctest.Wait()
				begun := time.Now()
				go p.ServerManager() // ends with Close and the listener
				synctest.Wait()
				require.Equal(t, tt.fails, len(failed) == 1)
				require.Error(t, <-failed)
				require.Equal(t, tt.fails, time.Since(begun) == 0)
				p.Close()
				l.Close()
			})
		})
	}
}

// silentListener is one to which nobody comes.
type silentListener struct {
	closed chan struct{}
	once   sync.Once
}

func (l *silentListener) Accept() (net.Conn, error) {
	<-l.closed
	return nil, net.ErrClosed
}

func (*silentListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *silentListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// TestUnknownMode: to v1.0.50 a TLS code that it does not know is plain TCP.
func TestUnknownMode(t *testing.T) {
	e := ends{"", newOurServer, func(_ *testing.T, _ string, n int, dial func() (net.Conn, error)) pool {
		return nodepass.NewClientPool(n, n, often, often, keepAlive, "on", serverName, dial)
	}}
	near, far := e.open(t, "0", 1).take(t)
	require.IsType(t, &net.TCPConn{}, far)
	requireEcho(t, near, far)

	ours := tunnelpool.NewClientPool(1, 1, often, often, keepAlive, "on", serverName, func() (net.Conn, error) { return nil, net.ErrClosed })
	defer ours.Close()
	require.ErrorIs(t, ours.Err(), tunnelpool.ErrTLSMode)
	_, err := ours.OutgoingGet("00000000", time.Second)
	require.ErrorIs(t, err, tunnelpool.ErrTLSMode)
}

// TestTypesOfConnections: v1.0.50 hands out the connection itself, ours a handle.
func TestTypesOfConnections(t *testing.T) {
	near, far := theirServer.open(t, "0", 1).take(t)
	require.IsType(t, &net.TCPConn{}, near)
	require.IsType(t, &tunnelpool.Conn{}, far)
	require.IsType(t, &net.TCPConn{}, far.(*tunnelpool.Conn).NetConn())
	require.Implements(t, (*interface{ CloseWrite() error })(nil), far)
	requireEcho(t, near, far)
}

// TestNumbers: what a server pool says of its capacity, and how a get that may not
// wait ends.
func TestNumbers(t *testing.T) {
	p := theirServer.open(t, "0", 4)
	require.Zero(t, p.server.(*nodepass.Pool).Capacity())
	p = ourServer.open(t, "0", 4)
	ours := p.server.(*tunnelpool.Pool)
	require.Equal(t, 4, ours.Capacity())
	_, c, err := ours.IncomingGet(0)
	require.NoError(t, err, "what is idle needs no wait")
	c.Close()
	ours.Clean()
	_, _, err = ours.IncomingGet(0)
	require.ErrorIs(t, err, tunnelpool.ErrTimeout)
}

// TestPutAgain: after a Put at both ends the next gets have the same connection.
// v1.0.50 cannot put back.
func TestPutAgain(t *testing.T) {
	_, can := any(&nodepass.Pool{}).(interface{ Put(string, net.Conn) })
	require.False(t, can)

	e := ends{"", newOurServer, newOurClient}
	p := e.open(t, "2", 1)
	server, client := p.server.(*tunnelpool.Pool), p.client.(*tunnelpool.Pool)
	id, near, err := p.server.IncomingGet(enough)
	require.NoError(t, err)
	far, err := p.client.OutgoingGet(id, enough)
	require.NoError(t, err)
	client.Put(id, far)
	server.Put(id, near)
	again, near, err := p.server.IncomingGet(enough)
	require.NoError(t, err)
	require.Equal(t, id, again)
	far, err = p.client.OutgoingGet(again, enough)
	require.NoError(t, err)
	requireEcho(t, near, far)
	require.NotZero(t, server.Stats().HandedOut)
}
