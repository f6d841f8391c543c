package carrier

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/wire"
)

// TestBreaches: whoever breaks the rules loses the carrier.
func TestBreaches(t *testing.T) {
	data := func(n uint32, size int) []byte {
		return wire.AppendFrame(nil, wire.FrameData, n, make([]byte, size)...)
	}
	start := func(n uint32) []byte { return wire.AppendFrame(nil, wire.FrameStart, n) }
	var tooMany, tooMuch []byte
	for n := uint32(1); n <= maxUnclaimed+1; n++ {
		tooMany = append(tooMany, start(n)...)
	}
	for n := uint32(1); n <= maxUnclaimedBytes/30_000+1; n++ {
		tooMuch = append(append(tooMuch, start(n)...), data(n, 30_000)...)
	}
	for name, said := range map[string][]byte{
		"no frame":                  []byte("GET / HTTP/1.1\r\n\r\n"),
		"a second START":            append(start(1), start(1)...),
		"DATA without room":         append(append(start(1), data(1, firstRoom-2*wire.FrameHeaderSize)...), data(1, 1)...),
		"more without room":         append(append(start(1), data(1, firstRoom-2*wire.FrameHeaderSize)...), bytes.Repeat(wire.AppendFrame(nil, wire.FrameFin, 1), 9)...),
		"too much room":             append(start(1), wire.AppendFrame(nil, wire.FrameWindow, 1, wire.Window(wire.MaxWindow)...)...),
		"streams never announced":   tooMany,
		"their bytes":               tooMuch,
		"WINDOW of nothing":         wire.AppendFrame(nil, wire.FrameWindow, 1, 0, 0, 0, 0),
		"a frame with a wrong type": {99, 0, 0, 0, 0, 0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			conn, client := raw(t, true)
			go io.Copy(io.Discard, conn) // ends with conn
			conn.Write(said)             // which may fail: the other side hangs up in the middle
			require.ErrorIs(t, client.ended(t), ErrProtocol)
		})
	}
}

// TestStrayFrames: frames of streams that are not there are dropped, on both
// sides, and a server takes no START.
func TestStrayFrames(t *testing.T) {
	for _, isClient := range []bool{false, true} {
		conn, c := raw(t, isClient)
		var said []byte
		for _, typ := range []wire.FrameType{wire.FrameAck, wire.FrameFin, wire.FrameCut} {
			said = wire.AppendFrame(said, typ, 5)
		}
		said = wire.AppendFrame(said, wire.FrameData, 5, make([]byte, 200_000)...)
		said = wire.AppendFrame(said, wire.FrameDone, 5, byte(wire.Keep))
		said = wire.AppendFrame(said, wire.FrameWindow, 5, wire.Window(1000)...)
		if !isClient {
			said = wire.AppendFrame(said, wire.FrameStart, 5)
		}
		_, err := conn.Write(wire.AppendFrame(said, wire.FrameStart, 6))
		require.NoError(t, err)
		if isClient {
			eventually(t, "it is at the end of them", func() bool { return c.Started(6) })
			continue
		}
		s, err := c.Open(7)
		require.NoError(t, err)
		send(t, conn, wire.FrameAck, 7)
		s.SetReadDeadline(time.Now().Add(patience))
		require.Equal(t, wire.FrameAck, header(t, s).Type)
		require.False(t, c.Started(5))
	}
}

// TestNotRead: a peer that asks and does not read the answers is not waited for,
// nor remembered for long.
func TestNotRead(t *testing.T) {
	conn, client := raw(t, true)
	probes := bytes.Repeat(wire.AppendFrame(nil, wire.FrameProbe, 1), 10_000)
	go func() { // ends with the carrier
		for {
			if _, err := conn.Write(probes); err != nil {
				return
			}
		}
	}()
	require.ErrorIs(t, client.ended(t), ErrBacklog)
}

// FuzzCarrier: whatever a peer sends, a carrier ends, and its streams with it.
func FuzzCarrier(f *testing.F) {
	start := wire.AppendFrame(nil, wire.FrameStart, 1)
	f.Add(start, true)
	f.Add(wire.AppendFrame(start, wire.FrameData, 1, []byte("hello")...), true)
	f.Add(wire.AppendFrame(wire.AppendFrame(nil, wire.FrameAck, 1), wire.FrameWindow, 1, wire.Window(70_000)...), false)
	f.Add(wire.AppendFrame(wire.AppendFrame(nil, wire.FrameProbe, 9), wire.FrameCut, 1), false)
	f.Fuzz(func(t *testing.T, said []byte, isClient bool) {
		conn, b := net.Pipe()
		c := NewServer(b, time.Minute, func() {})
		begin := c.Open
		if isClient {
			c = NewClient(b, time.Minute)
			begin = c.Take
		}
		s, err := begin(1)
		if err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, conn) // ends with conn
		go func() {                  // ends with conn
			conn.Write(said)
			conn.Close()
		}()
		read := make(chan struct{})
		go func() { // ends with the carrier
			defer close(read)
			got, err := io.ReadAll(s)
			if err != nil {
				t.Error(err)
			}
			if len(got) > len(said) {
				t.Errorf("%d bytes of %d came through", len(got), len(said))
			}
		}()
		if c.Run() == nil {
			t.Error("no reason")
		}
		<-read
		s.Close()
		if n, ok := c.Usable(); n != 0 && !isClient || ok {
			t.Errorf("%d streams are left, usable %v", n, ok)
		}
	})
}
