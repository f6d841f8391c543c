package library

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// network is what connects the two pools of a pair.
type network struct {
	listener net.Listener
	dial     func() (net.Conn, error)
}

// sockets is TCP over loopback.
func sockets(t testing.TB) network {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return network{l, func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }}
}

// handed is a listener whose connections a dialer puts into it.
type handed struct {
	conns chan net.Conn
	done  context.Context
	close context.CancelFunc
}

func newHanded(t testing.TB) *handed {
	h := &handed{conns: make(chan net.Conn)}
	h.done, h.close = context.WithCancel(context.Background())
	t.Cleanup(h.close)
	return h
}

func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done.Done():
		return nil, net.ErrClosed
	}
}

func (h *handed) Close() error {
	h.close()
	return nil
}

func (h *handed) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// put brings a connection to the listener.
func (h *handed) put(c net.Conn) error {
	select {
	case h.conns <- c:
		return nil
	case <-h.done.Done():
		return net.ErrClosed
	}
}

// memory connects without sockets, so that pairs cost no descriptors and that
// hand-outs do no system call.
func memory(t testing.TB) network {
	h := newHanded(t)
	return network{h, func() (net.Conn, error) {
		id := make(chan byte, idRoom)
		if err := h.put(&namer{newQuiet(), id}); err != nil {
			return nil, err
		}
		return &named{newQuiet(), id}, nil
	}}
}

// idRoom is more than the longest ID has bytes.
const idRoom = 16

// quiet is a connection on which nothing happens. Of deadlines it heeds those
// that have passed when they are set.
type quiet struct {
	closed  chan struct{}
	once    sync.Once
	expired atomic.Bool
}

func newQuiet() *quiet { return &quiet{closed: make(chan struct{})} }

func (c *quiet) Read([]byte) (int, error) {
	if c.expired.Load() {
		return 0, os.ErrDeadlineExceeded
	}
	<-c.closed
	return 0, net.ErrClosed
}

func (c *quiet) SetReadDeadline(t time.Time) error {
	c.expired.Store(!t.IsZero() && t.Before(time.Now()))
	return nil
}

func (c *quiet) SetDeadline(t time.Time) error  { return c.SetReadDeadline(t) }
func (*quiet) SetWriteDeadline(time.Time) error { return nil }
func (c *quiet) Close() error                   { c.once.Do(func() { close(c.closed) }); return nil }
func (*quiet) Write(b []byte) (int, error)      { return len(b), nil }
func (*quiet) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (*quiet) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2} }

// namer is the server's end: what is written are the bytes of an ID.
type namer struct {
	*quiet
	id chan<- byte
}

func (c *namer) Write(b []byte) (int, error) {
	for n, x := range b {
		select {
		case c.id <- x:
		default:
			return n, io.ErrShortWrite
		}
	}
	return len(b), nil
}

// named is the client's end, which reads them.
type named struct {
	*quiet
	id <-chan byte
}

func (c *named) Read(b []byte) (int, error) {
	if c.expired.Load() {
		return c.quiet.Read(b)
	}
	for n := range b {
		select {
		case b[n] = <-c.id:
		case <-c.closed:
			return n, net.ErrClosed
		}
	}
	return len(b), nil
}

// gate holds up dials while it is shut, so that no refill falls into what is
// being timed.
type gate struct{ mu sync.RWMutex }

func (g *gate) shut() { g.mu.Lock() }
func (g *gate) open() { g.mu.Unlock() }

func (g *gate) before(dial func() (net.Conn, error)) func() (net.Conn, error) {
	return func() (net.Conn, error) {
		g.mu.RLock()
		defer g.mu.RUnlock()
		return dial()
	}
}

// slow makes every dial take longer.
func slow(dial func() (net.Conn, error), by time.Duration) func() (net.Conn, error) {
	return func() (net.Conn, error) {
		time.Sleep(by)
		return dial()
	}
}

// flaky has every second dial fail.
func flaky(dial func() (net.Conn, error)) func() (net.Conn, error) {
	var n atomic.Int64
	return func() (net.Conn, error) {
		if n.Add(1)%2 == 0 {
			return nil, net.ErrClosed
		}
		return dial()
	}
}

// counted counts dials.
func counted(dial func() (net.Conn, error), n *atomic.Int64) func() (net.Conn, error) {
	return func() (net.Conn, error) {
		n.Add(1)
		return dial()
	}
}
