package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// requireDead checks that nothing can be done through a handle any more.
func requireDead(t *testing.T, c *Conn) {
	t.Helper()
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = c.Write([]byte("x"))
	require.ErrorIs(t, err, net.ErrClosed)
	require.ErrorIs(t, c.SetDeadline(time.Now()), net.ErrClosed)
	require.ErrorIs(t, c.SetReadDeadline(time.Now()), net.ErrClosed)
	require.ErrorIs(t, c.SetWriteDeadline(time.Now()), net.ErrClosed)
	require.ErrorIs(t, c.CloseWrite(), net.ErrClosed)
	_, err = c.SyscallConn()
	require.ErrorIs(t, err, net.ErrClosed)
	require.Nil(t, c.NetConn())
	require.NoError(t, c.Close(), "a later Close does nothing")
	require.NotNil(t, c.LocalAddr())
	require.NotNil(t, c.RemoteAddr())
	require.Len(t, c.ID(), idSize)
}

// TestStaleHandlesHarmNobody does through a handle that was put back, and
// through a layer above it, all that could harm the next holder.
func TestStaleHandlesHarmNobody(t *testing.T) {
	p := newServerCore(t, 2)
	id, peer := admit(t, p)
	stale := mustGet(t, p)
	requireEcho(t, stale, peer)
	layer := wrapper{stale}
	p.Put(id, layer)
	require.Equal(t, 1, p.Active())

	requireDead(t, stale)
	p.Put(id, stale)
	require.False(t, p.Reserve(stale), "it reserved a place that nobody gives back")
	require.Equal(t, 1, p.Active())

	next := mustGet(t, p)
	require.Equal(t, id, next.ID())
	p.Put(id, stale)
	p.Put(id, layer)
	p.Put("AAAAAAAA", stale)
	layer.Close()
	requireDead(t, stale)
	require.False(t, p.Reserve(stale))
	require.Equal(t, 1, p.Stats().Out)
	requireEcho(t, next, peer)
	require.Same(t, p.byID[ID([]byte(id))].conn, next.NetConn())

	p.Put(id, next)
	require.Equal(t, 1, p.Active())
	require.Zero(t, p.reserved)
	require.Empty(t, p.Stats().Closed)
}

func TestPutClosesWhatIsNotOurs(t *testing.T) {
	p, q := newServerCore(t, 8), newServerCore(t, 8)
	p.Put("AAAAAAAA", nil)

	peer, foreign := net.Pipe()
	p.Put("AAAAAAAA", foreign)
	requireEnded(t, peer)
	peer, foreign = net.Pipe()
	p.Put("AAAAAAAA", wrapper{foreign})
	requireEnded(t, peer)
	peer, foreign = net.Pipe()
	p.Put("AAAAAAAA", tls.Server(foreign, &tls.Config{}))
	requireEnded(t, peer)

	id, peer := admit(t, q)
	p.Put(id, mustGet(t, q))
	requireEnded(t, peer)
	require.Equal(t, map[CloseReason]uint64{ClosedByHolder: 1}, q.Stats().Closed)

	id, peer = admit(t, p)
	other, otherPeer := admit(t, p)
	c, err := p.ClientGet(id)
	require.NoError(t, err)
	p.Put(other, c)
	requireEnded(t, peer)
	require.Equal(t, 1, p.Active())
	c, err = p.ClientGet(other)
	require.NoError(t, err)
	requireEcho(t, c, otherPeer)
}

func TestPutWithACallInProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, calls := range map[string]func(net.Conn) error{
			"read":  func(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err },
			"write": func(c net.Conn) error { _, err := c.Write([]byte("nobody reads this")); return err },
		} {
			p := newServerCore(t, 8)
			id, peer := admit(t, p)
			c := mustGet(t, p)
			ended := make(chan error, 1)
			go func() { ended <- calls(c) }() // ends with Put
			synctest.Wait()
			p.Put(id, c)
			require.Error(t, <-ended, name)
			requireEnded(t, peer)
			require.Equal(t, map[CloseReason]uint64{ClosedUnfit: 1}, p.Stats().Closed)
		}
	})
}

// secureCore makes a server pool with one TLS connection in it, and the
// client's end of that.
func secureCore(t *testing.T) (p *Pool, peer net.Conn) {
	p = newServerCore(t, 8)
	client, server := net.Pipe()
	config, err := serverTLSConfig(TLSSelfSigned, nil)
	require.NoError(t, err)
	admitted := make(chan error, 1)
	go func() { admitted <- p.Admit(context.Background(), tls.Server(server, config)) }() // ends with the read below
	s := Security{TLS: TLSSelfSigned}
	peer, err = s.Secure(t.Context(), client)
	require.NoError(t, err)
	_, err = io.ReadFull(peer, make([]byte, idSize))
	require.NoError(t, err)
	require.NoError(t, <-admitted)
	t.Cleanup(func() { closeBelowTLS(peer) })
	return p, peer
}

// TestPutWithAReadUnderTLS: a Read that blocks below TLS is a call in progress
// until Put, although the look at buffered bytes could end it.
func TestPutWithAReadUnderTLS(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			p, peer := secureCore(t)
			c := mustGet(t, p)
			ended := make(chan error, 1)
			go func() { // ends with Put
				_, err := c.Read(make([]byte, 1))
				ended <- err
			}()
			synctest.Wait()
			p.Put(c.ID(), c)
			err := <-ended
			require.Error(t, err)
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
			requireEnded(t, peer)
			require.Equal(t, map[CloseReason]uint64{ClosedUnfit: 1}, p.Stats().Closed)
		})
	}
}

// TestPutSeesBytesBufferedInTLS: what TLS has decrypted and nobody read is out
// of a peek's sight.
func TestPutSeesBytesBufferedInTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, layered := range []bool{false, true} {
			p, peer := secureCore(t)
			c := mustGet(t, p)
			go peer.Write([]byte("two")) // ends with the read
			one := make([]byte, 1)
			_, err := c.Read(one)
			require.NoError(t, err)
			if layered {
				p.Put(c.ID(), wrapper{c})
			} else {
				p.Put(c.ID(), c)
			}
			require.Zero(t, p.Active())
			require.Equal(t, map[CloseReason]uint64{ClosedUnfit: 1}, p.Stats().Closed)

			p, peer = secureCore(t)
			c = mustGet(t, p)
			requireEcho(t, c, peer)
			p.Put(c.ID(), c)
			require.Equal(t, 1, p.Active(), "nothing was left")
			requireEcho(t, mustGet(t, p), peer)
		}
	})
}

func TestPutClearsDeadlines(t *testing.T) {
	p := newServerCore(t, 8)
	id, peer := admit(t, p)
	c := mustGet(t, p)
	require.NoError(t, c.SetDeadline(aLongTimeAgo))
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	p.Put(id, c)
	requireEcho(t, mustGet(t, p), peer)
}

func TestPutIntoAFullPool(t *testing.T) {
	p := newServerCore(t, 1)
	id, peer := admit(t, p)
	c := mustGet(t, p)
	other, _ := admit(t, p)
	p.Put(id, c)
	requireEnded(t, peer)
	require.Equal(t, 1, p.Active())
	require.Equal(t, other, mustGet(t, p).ID())
	require.Equal(t, map[CloseReason]uint64{ClosedFull: 1}, p.Stats().Closed)
}

func TestReserve(t *testing.T) {
	p := newServerCore(t, 2)
	id, _ := admit(t, p)
	c := mustGet(t, p)
	other, _ := admit(t, p)
	require.True(t, p.Reserve(c))
	require.True(t, p.Reserve(c), "reserving twice is once")
	require.Equal(t, 1, p.reserved)
	_, foreign := net.Pipe()
	require.ErrorIs(t, p.Admit(t.Context(), foreign), ErrFull, "the place is promised")

	d, err := p.ClientGet(other)
	require.NoError(t, err)
	require.True(t, p.Reserve(d.(*Conn)))
	require.False(t, newServerCore(t, 2).Reserve(c), "another pool's")
	d.Close()
	require.Equal(t, 1, p.reserved, "Close gives the place up")
	admit(t, p)
	p.Put(id, c)
	require.Equal(t, 2, p.Active())
	require.Zero(t, p.reserved)

	e := mustGet(t, p)
	admit(t, p)
	require.False(t, p.Reserve(e), "the pool is full")
	p.Close()
	require.False(t, p.Reserve(e))
}

func TestFlushGivesReservedPlacesUp(t *testing.T) {
	p := newServerCore(t, 1)
	admit(t, p)
	c := mustGet(t, p)
	require.True(t, p.Reserve(c))
	p.Flush()
	require.Zero(t, p.reserved)
	require.False(t, p.Reserve(c))
	admit(t, p)
}

func TestPutAfterClose(t *testing.T) {
	p := newServerCore(t, 1)
	id, peer := admit(t, p)
	c := mustGet(t, p)
	p.Close()
	requireEcho(t, c, peer) // it is still its holder's
	p.Put(id, c)
	requireEnded(t, peer)
	require.Equal(t, map[CloseReason]uint64{ClosedShutdown: 1}, p.Stats().Closed)
}

// TestConnPassesThrough: a live handle is the connection below.
func TestConnPassesThrough(t *testing.T) {
	p := newServerCore(t, 1)
	id, peer := admit(t, p)
	c := mustGet(t, p)
	require.Equal(t, id, c.ID())
	require.Equal(t, peer.LocalAddr(), c.RemoteAddr())
	require.NoError(t, c.SetReadDeadline(aLongTimeAgo))
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, c.SetWriteDeadline(aLongTimeAgo))
	_, err = c.Write(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, c.SetDeadline(time.Time{}))
	requireEcho(t, c, peer)
	require.ErrorIs(t, c.CloseWrite(), errors.ErrUnsupported)
	_, err = c.SyscallConn()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.NoError(t, c.Close())
	requireEnded(t, peer)
	requireDead(t, c)
}

// holdConn keeps what is written, once told to, and sends it in one go.
type holdConn struct {
	net.Conn
	writes int
	held   []byte
}

func (c *holdConn) Write(b []byte) (int, error) {
	if c.writes++; c.writes == 1 { // the TLS client's hello
		return c.Conn.Write(b)
	}
	c.held = append(c.held, b...)
	return len(b), nil
}

// TestBytesSentWithTheHandshake would reach the first holder from TLS's buffer,
// where no look at the socket sees them.
func TestBytesSentWithTheHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServerCore(t, 8)
		near, far := net.Pipe()
		config, err := serverTLSConfig(TLSSelfSigned, nil)
		require.NoError(t, err)
		server := tls.Server(far, config)
		shaken := make(chan error, 1)
		go func() { shaken <- server.Handshake() }() // ends with the client's half
		hold := &holdConn{Conn: near}
		client := tls.Client(hold, &tls.Config{InsecureSkipVerify: true})
		require.NoError(t, client.Handshake())
		_, err = client.Write([]byte("early"))
		require.NoError(t, err)
		_, err = near.Write(hold.held)
		require.NoError(t, err)
		go io.Copy(io.Discard, near) // ends with the pool's end
		require.NoError(t, <-shaken)
		require.ErrorContains(t, p.Admit(t.Context(), server), "before its connection was handed out")
		require.Zero(t, p.Stats().Created)
	})
}
