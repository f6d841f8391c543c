package pool

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// What the tests of the pool share. Those of the front door are in
// door_test.go.

// newServerCore makes a server pool without a listener, which is closed, and
// its books checked, when the test ends.
func newServerCore(t testing.TB, maxCap int) *Pool {
	return keep(t)(NewServer(ServerConfig{Limits: Limits{MaxCap: maxCap}}))
}

// newClientCore makes a client pool that does not run: connections come
// through arrive.
func newClientCore(t testing.TB, maxCap int) *Pool {
	return keep(t)(NewClient(ClientConfig{
		Dial:   func(context.Context) (net.Conn, error) { return nil, net.ErrClosed },
		Limits: Limits{MaxCap: maxCap},
	}))
}

// keep closes the pool when the test ends.
func keep(t testing.TB) func(*Pool, error) *Pool {
	return func(p *Pool, err error) *Pool {
		require.NoError(t, err)
		t.Cleanup(func() {
			p.Close()
			requireBooks(t, p)
			require.Zero(t, p.Stats().Idle)
			require.Zero(t, p.Stats().Waiting)
		})
		return p
	}
}

// run starts Run, which ends with the pool.
func run(t testing.TB, p *Pool) *Pool {
	ended := make(chan error, 1)
	go func() { ended <- p.Run(context.Background()) }() // ends with Close
	t.Cleanup(func() {
		p.Close()
		require.NoError(t, <-ended)
	})
	return p
}

// requireBooks checks what holds at every instant.
func requireBooks(t testing.TB, p *Pool) {
	t.Helper()
	s := p.Stats()
	require.Equal(t, s.Created, uint64(s.Idle+s.Checking+s.Out)+sumClosed(s), "%+v", s)
	require.GreaterOrEqual(t, s.Idle, 0)
	require.GreaterOrEqual(t, s.Out, 0)
	require.GreaterOrEqual(t, s.HandedOut, s.Hits, "%+v", s)
}

func sumClosed(s Stats) (sum uint64) {
	for _, n := range s.Closed {
		sum += n
	}
	return sum
}

// admit brings a connection into a server pool; it returns the peer's end.
func admit(t testing.TB, p *Pool) (string, net.Conn) {
	peer, conn := net.Pipe()
	t.Cleanup(func() { peer.Close() })
	done := make(chan error, 1)
	go func() { done <- p.Admit(context.Background(), conn) }() // ends with the read below
	id := make([]byte, idSize)
	_, err := io.ReadFull(peer, id)
	require.NoError(t, err)
	require.NoError(t, <-done)
	return string(id), peer
}

// arrive brings a named connection into a client pool; it returns the peer's
// end.
func arrive(t testing.TB, p *Pool, id string) net.Conn {
	peer, conn := net.Pipe()
	t.Cleanup(func() { peer.Close() })
	e := newEntry(conn)
	e.named(ID([]byte(id)))
	require.NoError(t, p.adopt(e))
	return peer
}

func mustGet(t testing.TB, p *Pool) *Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := p.Get(ctx)
	require.NoError(t, err)
	return c
}

// got is what a Get or a Take in the background brought.
type got struct {
	conn *Conn
	err  error
}

// later starts a get in a bubble and returns when it waits, or is done.
func later(get func() (*Conn, error)) <-chan got {
	result := make(chan got, 1)
	go func() { // ends with get
		c, err := get()
		result <- got{c, err}
	}()
	synctest.Wait()
	return result
}

// laterGet is later for a Get without end.
func laterGet(p *Pool) <-chan got {
	return later(func() (*Conn, error) { return p.Get(context.Background()) })
}

func laterTake(p *Pool, id string) <-chan got {
	return later(func() (*Conn, error) {
		parsed, err := ParseID(id)
		if err != nil {
			return nil, err
		}
		return p.Take(context.Background(), parsed)
	})
}

// requireEcho sends a byte through both directions of a connection.
func requireEcho(t testing.TB, a, b net.Conn) {
	t.Helper()
	for range 2 {
		sent := make(chan error, 1)
		go func() { // ends with the read, or with either end
			_, err := a.Write([]byte("!"))
			sent <- err
		}()
		one := make([]byte, 1)
		_, err := io.ReadFull(b, one)
		require.NoError(t, err)
		require.Equal(t, "!", string(one))
		require.NoError(t, <-sent)
		a, b = b, a
	}
}

// requireEnded checks that the other side of a connection was closed.
func requireEnded(t testing.TB, peer net.Conn) {
	t.Helper()
	_ = peer.SetReadDeadline(time.Now().Add(10 * time.Second)) // a closed pipe refuses it
	_, err := peer.Read(make([]byte, 1))
	require.True(t, hungUp(err), "%v", err)
}

// wrapper is a layer of the caller's above a handle.
type wrapper struct{ net.Conn }

func (w wrapper) NetConn() net.Conn { return w.Conn }

// idleConn is a connection on which nothing happens: it takes all bytes and
// gives none. Of deadlines it knows only those that have passed.
type idleConn struct {
	closed  chan struct{}
	once    sync.Once
	expired atomic.Bool
}

func newIdleConn() *idleConn { return &idleConn{closed: make(chan struct{})} }

func (c *idleConn) Read([]byte) (int, error) {
	if c.expired.Load() {
		return 0, os.ErrDeadlineExceeded
	}
	<-c.closed
	return 0, net.ErrClosed
}

func (c *idleConn) Write(b []byte) (int, error) { return len(b), nil }

func (c *idleConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (*idleConn) LocalAddr() net.Addr             { return textAddr("here") }
func (*idleConn) RemoteAddr() net.Addr            { return textAddr("there") }
func (c *idleConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

func (c *idleConn) SetReadDeadline(t time.Time) error {
	c.expired.Store(!t.IsZero() && t.Before(time.Now()))
	return nil
}

func (*idleConn) SetWriteDeadline(time.Time) error { return nil }
