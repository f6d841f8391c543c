package tunnel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// packetTarget answers each datagram with what handle returns; nil: not at all.
func packetTarget(t testing.TB, handle func(datagram []byte, from net.Addr) []byte) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	return servePackets(t, c, handle)
}

func servePackets(t testing.TB, c net.PacketConn, handle func([]byte, net.Addr) []byte) string {
	c.(*net.UDPConn).SetReadBuffer(4 << 20)
	var wg sync.WaitGroup
	wg.Go(func() { // ends with c
		buf := make([]byte, 65507)
		for {
			n, from, err := c.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			if answer := handle(buf[:n], from); answer != nil {
				c.WriteTo(answer, from)
			}
		}
	})
	t.Cleanup(func() { c.Close(); wg.Wait() })
	return c.LocalAddr().String()
}

func echoPacket(datagram []byte, _ net.Addr) []byte { return datagram }

// udpService is for clientConfig.
func udpService(target string) func(*ClientConfig) {
	return func(cfg *ClientConfig) { cfg.Services = []Service{{Name: "dns", Network: "udp", Target: target}} }
}

func udpUser(t testing.TB, addr string) *net.UDPConn {
	t.Helper()
	c, err := net.Dial("udp", addr)
	require.NoError(t, err)
	c.SetDeadline(time.Now().Add(patience))
	c.(*net.UDPConn).SetReadBuffer(4 << 20)
	t.Cleanup(func() { c.Close() })
	return c.(*net.UDPConn)
}

func sendPacket(t testing.TB, c net.Conn, datagram []byte) {
	t.Helper()
	n, err := c.Write(datagram)
	require.NoError(t, err)
	require.Equal(t, len(datagram), n)
}

func receivePacket(t testing.TB, c net.Conn) []byte {
	t.Helper()
	buf := make([]byte, 1<<16)
	n, err := c.Read(buf)
	require.NoError(t, err)
	return buf[:n]
}

// asks sends until there is an answer, as users of UDP do.
func asks(t testing.TB, c net.Conn, question string) {
	t.Helper()
	buf := make([]byte, 1<<16)
	eventually(t, func() bool {
		c.Write([]byte(question))
		c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := c.Read(buf)
		for err == nil && string(buf[:n]) != question {
			n, err = c.Read(buf)
		}
		return err == nil
	}, func() string { return "no answer" })
	c.SetReadDeadline(time.Now().Add(patience))
}

// TestUDPSizes: each datagram arrives whole and by itself, the empty one and the
// largest that there is included, in order.
func TestUDPSizes(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		h := startServer(t, mode)
		g := startClient(t, h, "", udpService(packetTarget(t, echoPacket)))
		c := udpUser(t, g.public(0))
		for _, size := range []int{1, 0, 2, 512, 1400, 1472, 8192, 9000, 32 << 10, 65506, 65507, 3} {
			question := bytes.Repeat([]byte{byte(size), 0xff}, size/2+1)[:size]
			sendPacket(t, c, question)
			require.Equal(t, question, receivePacket(t, c), "%d bytes", size)
		}
		require.Equal(t, 1, g.Stats().Open)
		require.Zero(t, h.Stats().Dropped+g.Stats().Dropped)
	})
}

// TestUDPLoad is a stream of 1,400 bytes a datagram.
func TestUDPLoadX(t *testing.T) {
	if os.Getenv("UDPLOAD") == "" {
		t.Skip()
	}
	h := startServer(t, pool.TLSSelfSigned)
	g := startClient(t, h, "", udpService(packetTarget(t, echoPacket)))
	c := udpUser(t, g.public(0))
	var got atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2000)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			_ = n
			got.Add(1)
		}
	}()
	b := make([]byte, 1400)
	begun := time.Now()
	sent := 0
	for time.Since(begun) < 10*time.Second {
		for due := int(time.Since(begun).Seconds() * 10000); sent < due; sent++ {
			binary.BigEndian.PutUint64(b, uint64(sent))
			c.Write(b)
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(500 * time.Millisecond)
	t.Logf("sent %d got %d dropped server %d client %d", sent, got.Load(), h.Stats().Dropped, g.Stats().Dropped)
	c.Close()
	<-done
}
