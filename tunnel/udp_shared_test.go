package tunnel

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// TestUDPGroup: clients share a port of UDP as one of TCP: the flows are spread,
// and when a client is lost a user who goes on is on another one.
func TestUDPGroup(t *testing.T) {
	h := startServer(t, pool.TLSSelfSigned)
	port := freePort(t)
	var line cable
	member := func(name string, more ...func(*ClientConfig)) *guest {
		says := func([]byte, net.Addr) []byte { return []byte(name) }
		return startClient(t, h, "", append(more, udpService(packetTarget(t, says)), func(cfg *ClientConfig) {
			cfg.Name, cfg.Services[0].Port, cfg.Services[0].Group = name, port, "blue"
		})...)
	}
	a := member("a", func(cfg *ClientConfig) { cfg.Dial = line.dial })
	member("b")
	met := make(map[string]int)
	var users []*net.UDPConn
	for range 10 {
		c := udpUser(t, a.public(0))
		sendPacket(t, c, []byte("who?"))
		met[string(receivePacket(t, c))]++
		users = append(users, c)
	}
	require.Equal(t, map[string]int{"a": 5, "b": 5}, met)
	line.cut()
	eventually(t, func() bool { return h.Stats().Sessions == 1 }, h.log.text)
	for _, c := range users {
		eventually(t, func() bool {
			c.Write([]byte("who?"))
			c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			answer := make([]byte, 10)
			n, err := c.Read(answer)
			return err == nil && string(answer[:n]) == "b"
		}, h.log.text)
	}
}

// TestUDPRate: a rate bounds datagrams too, which stay whole.
func TestUDPRate(t *testing.T) {
	const rate, size, span = 100_000, 1000, 2 * time.Second
	var got, broken atomic.Int64
	datagram := bytes.Repeat([]byte("x"), size)
	count := func(what []byte, _ net.Addr) []byte {
		if !bytes.Equal(what, datagram) {
			broken.Add(1)
		}
		got.Add(int64(len(what)))
		return nil
	}
	h := startServer(t, pool.TLSPlain)
	g := startClient(t, h, "", udpService(packetTarget(t, count)), func(cfg *ClientConfig) { cfg.Services[0].Rate = rate })
	c := udpUser(t, g.public(0))
	ctx, cancel := context.WithTimeout(t.Context(), span)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil { // a megabyte a second
		<-tick.C
		sendPacket(t, c, datagram)
	}
	share := float64(got.Load()) / span.Seconds() / rate
	t.Logf("%.2f of the rate", share)
	require.Less(t, share, 1.1)
	require.Greater(t, share, 0.3)
	require.Zero(t, broken.Load())
}
