package tunnel

import (
	"encoding/binary"
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
	h.spread(t, map[string]int{"a": 5, "b": 5}, met)
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

// TestUDPRate: a rate of the service or of the key bounds datagrams too, which
// stay whole. What is beyond is dropped rather than late.
func TestUDPRate(t *testing.T) {
	const rate, size, span = 100_000, 1000, 2 * time.Second
	for _, of := range []string{"service", "key"} {
		t.Run(of, func(t *testing.T) {
			var got, broken atomic.Int64
			var slowest atomic.Int64
			begun := time.Now()
			count := func(what []byte, _ net.Addr) []byte {
				if len(what) != size {
					broken.Add(1)
					return nil
				}
				got.Add(size)
				age := time.Since(begun) - time.Duration(binary.BigEndian.Uint64(what))
				slowest.Store(max(slowest.Load(), int64(age)))
				return nil
			}
			h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) {
				if of == "key" {
					ring, err := NewKeyring(Grant{Key: cfg.Keys[0], Rate: rate})
					require.NoError(t, err)
					cfg.Keys, cfg.Keyring = nil, ring
				}
			})
			g := startClient(t, h, "", udpService(packetTarget(t, count)), func(cfg *ClientConfig) {
				if of == "service" {
					cfg.Services[0].Rate = rate
				}
			})
			c := udpUser(t, g.public(0))
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for first := time.Now(); time.Since(first) < span; { // a megabyte a second
				<-tick.C
				datagram := make([]byte, size)
				binary.BigEndian.PutUint64(datagram, uint64(time.Since(begun)))
				sendPacket(t, c, datagram)
			}
			share := float64(got.Load()) / span.Seconds() / rate
			t.Logf("%.2f of the rate, the slowest after %v", share, time.Duration(slowest.Load()))
			require.Less(t, share, 1.1)
			require.Greater(t, share, 0.3)
			require.Less(t, time.Duration(slowest.Load()), span/2)
			require.Zero(t, broken.Load())
			if of == "service" {
				g.log.find(t, "more than its --rate allows")
			} else {
				h.log.find(t, "more than the rate of key")
			}
		})
	}
}
