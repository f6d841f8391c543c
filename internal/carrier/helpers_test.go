package carrier

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/wire"
)

// patience bounds every wait of a test; only a failure lasts that long.
const patience = 20 * time.Second

const beat = 5 * time.Second

// running is a carrier that runs, and how it ended.
type running struct {
	*Carrier
	over chan error
}

func run(t *testing.T, c *Carrier) running {
	t.Helper()
	r := running{c, make(chan error, 1)}
	done := make(chan struct{})
	go func() { // ends with the carrier
		r.over <- c.Run()
		close(done)
	}()
	t.Cleanup(func() {
		c.Close()
		<-done
	})
	return r
}

// ended is why it ended.
func (r running) ended(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.over:
		return err
	case <-time.After(patience):
		require.Fail(t, "the carrier goes on")
		return nil
	}
}

// tcpPair returns both ends of a loopback connection.
func tcpPair(t testing.TB) (dialed, accepted net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	d, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	a, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { d.Close(); a.Close() })
	return d, a
}

// pair is both sides of a carrier over loopback.
func pair(t *testing.T) (server, client running) {
	t.Helper()
	d, a := tcpPair(t)
	return run(t, NewServer(a, beat, func() {})), run(t, NewClient(d, beat))
}

// begun is a stream whose both ends are there.
func begun(t *testing.T, server, client running, number uint32) (*Stream, *Stream) {
	t.Helper()
	s, err := server.Open(number)
	require.NoError(t, err)
	c, err := client.Take(number)
	require.NoError(t, err)
	for _, end := range []*Stream{s, c} {
		end.SetDeadline(time.Now().Add(patience))
	}
	send(t, s, wire.FrameStart, number)
	require.Equal(t, wire.FrameHeader{Type: wire.FrameStart, Stream: number}, header(t, c))
	return s, c
}

func send(t *testing.T, to io.Writer, typ wire.FrameType, number uint32, payload ...byte) {
	t.Helper()
	_, err := to.Write(wire.AppendFrame(nil, typ, number, payload...))
	require.NoError(t, err)
}

// header reads a frame's header.
func header(t *testing.T, from io.Reader) wire.FrameHeader {
	t.Helper()
	var b [wire.FrameHeaderSize]byte
	_, err := io.ReadFull(from, b[:])
	require.NoError(t, err)
	h, err := wire.ParseFrameHeader(b[:])
	require.NoError(t, err)
	return h
}

// frame reads a whole frame.
func frame(t *testing.T, from io.Reader) (wire.FrameType, string) {
	t.Helper()
	h := header(t, from)
	b := make([]byte, h.Length)
	_, err := io.ReadFull(from, b)
	require.NoError(t, err)
	return h.Type, string(b)
}

// eventually is for what the other side does on its own.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, patience, time.Millisecond, what)
}

// raw is the other side of a carrier, spoken by hand.
func raw(t *testing.T, client bool) (net.Conn, running) {
	t.Helper()
	d, a := tcpPair(t)
	d.SetDeadline(time.Now().Add(patience))
	if client {
		return d, run(t, NewClient(a, beat))
	}
	return d, run(t, NewServer(a, beat, func() {}))
}
