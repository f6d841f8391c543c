package tunnel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
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
// largest that there is included, on a pooled connection and on a carrier.
func TestUDPSizes(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		h := startServer(t, mode, onePooled)
		g := startClient(t, h, "", udpService(packetTarget(t, echoPacket)), func(cfg *ClientConfig) { cfg.PoolMin, cfg.PoolMax = 1, 1 })
		carriersUp(t, h, g.cfg.Load().Carriers)
		for range 2 { // the second finds no pooled connection idle
			c := udpUser(t, g.public(0))
			for _, size := range []int{1, 0, 2, 512, 1400, 1472, 8192, 9000, 32 << 10, 65506, 65507, 3} {
				question := bytes.Repeat([]byte{byte(size), 0xff}, size/2+1)[:size]
				sendPacket(t, c, question)
				require.Equal(t, question, receivePacket(t, c), "%d bytes", size)
			}
		}
		require.Equal(t, 2, g.Stats().Open)
		require.EqualValues(t, 1, h.Stats().Carried)
		require.Zero(t, h.Stats().Dropped+g.Stats().Dropped)
	})
}

// TestUDPOrder: within a flow datagrams keep their order, and flows do not mix, on
// connections of their own as well as on carriers.
func TestUDPOrder(t *testing.T) {
	for name, change := range map[string]func(*ClientConfig){
		"no carriers":   func(cfg *ClientConfig) { cfg.Carriers = -1 },
		"carriers only": func(cfg *ClientConfig) { cfg.PoolMin, cfg.PoolMax = 1, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) {
				if name == "carriers only" {
					onePooled(cfg)
				}
			})
			g := startClient(t, h, "", udpService(packetTarget(t, echoPacket)), change)
			carriersUp(t, h, max(g.cfg.Load().Carriers, 0))
			var users sync.WaitGroup
			for i := range 20 {
				c := udpUser(t, g.public(0))
				users.Go(func() {
					const most = 50 // on their way
					buf := make([]byte, 2000)
					for sent, got := 0, 0; got < 500; {
						for ; sent < 500 && sent-got < most; sent++ {
							fmt.Fprintf(c, "%d of user %d%s", sent, i, padding[:sent])
						}
						n, err := c.Read(buf)
						if want := fmt.Sprintf("%d of user %d%s", got, i, padding[:got]); err != nil || string(buf[:n]) != want {
							t.Errorf("user %d: got %q, %v; want %q", i, buf[:n], err, want)
							return
						}
						got++
					}
				})
			}
			users.Wait()
			require.Zero(t, h.Stats().Dropped+g.Stats().Dropped)
			if carried := h.Stats().Carried; name == "no carriers" {
				require.Zero(t, carried)
			} else {
				require.EqualValues(t, 19, carried)
			}
		})
	}
}

var padding = strings.Repeat(".", 500)

// TestUDPIdle: a silent flow ends in order, its connection serves another user,
// and the same address begins a new flow.
func TestUDPIdle(t *testing.T) {
	h := startServer(t, pool.TLSSelfSigned, func(cfg *ServerConfig) { cfg.MaxPooled = 1 })
	g := startClient(t, h, "", udpService(packetTarget(t, echoPacket)), func(cfg *ClientConfig) {
		cfg.Services[0].UDPIdle = time.Second
		cfg.PoolMin, cfg.PoolMax, cfg.Carriers = 1, 1, -1
	})
	c := udpUser(t, g.public(0))
	for range 2 {
		asks(t, c, "question")
		require.Equal(t, 1, g.Stats().Open)
		eventually(t, func() bool { return g.Stats().Open == 0 && h.Stats().Open == 0 }, g.log.text)
	}
	st := h.Stats()
	require.EqualValues(t, 2, st.Streams)
	require.Equal(t, 1, st.Pools[0].Idle)
	require.EqualValues(t, 1, st.Pools[0].Created, "one connection served both")
}

// TestUDPAtRest: flows that are still hold no goroutine but one at the client, and
// go on.
func TestUDPAtRest(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	g := startClient(t, h, "", udpService(packetTarget(t, echoPacket)), func(cfg *ClientConfig) { cfg.PoolMax = 8 })
	before := runtime.NumGoroutine()
	const users = 50
	var all []*net.UDPConn
	for range users {
		c := udpUser(t, g.public(0))
		asks(t, c, "question")
		all = append(all, c)
	}
	most := before + users + 15 // what pool and carriers do meanwhile
	if runtime.GOOS != "linux" {
		most += 4 * users
	}
	eventually(t, func() bool { return runtime.NumGoroutine() <= most },
		func() string { return fmt.Sprintf("%d goroutines, %d before", runtime.NumGoroutine(), before) })
	require.Equal(t, users, g.Stats().Open)
	for _, c := range all {
		asks(t, c, "again")
	}
	require.EqualValues(t, users, h.Stats().Streams)
}

// TestUDPDeadTarget: of two services the target of one is down, then of both
// neither: it is told, harms nobody, and the flow goes on when it is back.
func TestUDPDeadTarget(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	dead, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	address := dead.LocalAddr().String()
	dead.Close()
	g := startClient(t, h, "", func(cfg *ClientConfig) {
		cfg.Services = []Service{
			{Name: "live", Network: "udp", Target: packetTarget(t, echoPacket)},
			{Name: "dead", Network: "udp", Target: address},
			{Name: "nowhere", Network: "udp", Target: "no-such-host.invalid:1"},
		}
	})
	live, vain, nowhere := udpUser(t, g.public(0)), udpUser(t, g.public(1)), udpUser(t, g.public(2))
	for range 100 {
		sendPacket(t, vain, []byte("in vain"))
		sendPacket(t, nowhere, []byte("in vain"))
		sendPacket(t, live, []byte("question"))
		require.Equal(t, "question", string(receivePacket(t, live)))
	}
	g.log.find(t, `Service "dead": target `+address+` refuses datagrams: is it running?`)
	g.log.find(t, `Service "nowhere": target no-such-host.invalid:1: its name was not found`)
	require.Equal(t, 2, h.Stats().Open, "the flow to the dead target is one all the time")
	require.Less(t, h.Stats().Streams, uint64(10), "an address that is turned away is not tried with each datagram")

	dead, err = net.ListenPacket("udp", address)
	require.NoError(t, err)
	servePackets(t, dead, echoPacket)
	asks(t, vain, "now")
}

// TestUDPFlowCap: addresses beyond the cap are not served, which is told, and the
// others are; when one has gone there is room.
func TestUDPFlowCap(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.MaxFlows = 3 })
	g := startClient(t, h, "", udpService(packetTarget(t, echoPacket)), func(cfg *ClientConfig) {
		cfg.Services[0].UDPIdle = time.Second
	})
	var served []*net.UDPConn
	for range 3 {
		c := udpUser(t, g.public(0))
		asks(t, c, "question")
		served = append(served, c)
	}
	late := udpUser(t, g.public(0))
	sendPacket(t, late, []byte("question"))
	h.log.find(t, `service "dns": a user's datagram is dropped: there are as many users as there may be, 3 of a UDP service`)
	require.NotZero(t, h.Stats().Dropped)
	for _, c := range served {
		asks(t, c, "still")
	}
	asks(t, late, "question")
}

// TestUDPStrangers: more addresses than there may be flows, each with one datagram.
// Who is in is served all the time, and a newcomer once they have been silent for a
// while.
func TestUDPStrangers(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.MaxFlows = 50 })
	g := startClient(t, h, "", udpService(packetTarget(t, echoPacket)))
	in, goroutines := udpUser(t, g.public(0)), runtime.NumGoroutine()
	asks(t, in, "question")
	for i := range 500 {
		stranger, err := net.Dial("udp", g.public(0))
		require.NoError(t, err)
		stranger.Write([]byte("one of many"))
		stranger.Close()
		if i%10 == 0 {
			sendPacket(t, in, []byte("question"))
			require.Equal(t, "question", string(receivePacket(t, in)))
		}
	}
	require.LessOrEqual(t, h.Stats().Open, 50)
	require.GreaterOrEqual(t, h.Stats().Dropped, uint64(400))
	newcomer := udpUser(t, g.public(0))
	asks(t, newcomer, "question")
	asks(t, in, "question")
	eventually(t, func() bool { return h.Stats().Open <= 50 && g.Stats().Open <= 50 }, h.log.text)
	eventually(t, func() bool { return runtime.NumGoroutine() < goroutines+100 }, func() string { return "goroutines stay" })
}

// TestUDPAway: while the client is away its users are held, and served when it is
// back, on the same port; those whose flows broke are too.
func TestUDPAway(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		h := startServer(t, mode)
		var line cable
		g := startClient(t, h, "", udpService(packetTarget(t, echoPacket)), func(cfg *ClientConfig) { cfg.Dial = line.dial })
		public := g.public(0)
		former := udpUser(t, public)
		asks(t, former, "before")
		line.cut()
		h.away(t)
		held := udpUser(t, public)
		sendPacket(t, held, []byte("meanwhile"))
		eventually(t, func() bool { return h.Stats().Open >= 1 }, h.log.text)
		line.mend()
		require.Equal(t, "meanwhile", string(receivePacket(t, held)))
		g.up(t)
		require.Equal(t, public, g.public(0))
		asks(t, former, "after")
	})
}

// TestUDPBesideTCP: a port of UDP is another than that of TCP with its number.
func TestUDPBesideTCP(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	port := freePort(t)
	target := startTarget(t, echo)
	g := startClient(t, h, "", func(cfg *ClientConfig) {
		cfg.Services = []Service{
			{Port: port, Target: target},
			{Port: port, Network: "udp", Target: packetTarget(t, echoPacket)},
			{Network: "udp", Port: portOf(t, h.addr()), Target: "localhost:1"}, // the tunnel's own is of TCP
		}
	})
	require.Equal(t, g.public(0), g.public(1))
	works(t, g)
	asks(t, udpUser(t, g.public(1)), "works?")
	g.log.find(t, fmt.Sprintf(`Service "udp/%d" is up: udp/127.0.0.1:%[1]d leads to udp/`, port))
	for i, s := range h.Stats().Services {
		require.Equal(t, i > 0, s.UDP)
	}
	second := h.clientConfig("localhost:1")
	second.Name = "second"
	second.Services = []Service{{Network: "udp", Port: port, Target: "localhost:1"}}
	runClient(t, second).log.find(t, fmt.Sprintf(`port %d is held by client "guest"`, port))
}

// TestUDPDrain: an end that stops does not wait for flows, which have no end, and
// its port is free for the next.
func TestUDPDrain(t *testing.T) {
	for _, who := range []string{"server", "client"} {
		t.Run(who, func(t *testing.T) {
			h := startServer(t, pool.TLSSelfSigned)
			port := freePort(t)
			g := startClient(t, h, "", udpService(packetTarget(t, echoPacket)), func(cfg *ClientConfig) {
				cfg.Services[0].Port, cfg.Drain = port, time.Hour
			})
			asks(t, udpUser(t, g.public(0)), "before")
			if who == "server" {
				h.stop()
				<-h.done
				return
			}
			cfg := *g.cfg.Load()
			g.stop()
			<-g.done
			next := runClient(t, cfg).up(t)
			asks(t, udpUser(t, next.public(0)), "after")
		})
	}
}

// TestUDPStuck: of two flows the client reads one only. What is sent to the other
// is dropped beyond a bound and counted, and the one goes on. When the client sends
// what is no datagram, the flow is aborted.
func TestUDPStuck(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	control, w := h.join(t, h.key, "by hand")
	say(t, control, wire.Register{Ref: 0, Network: wire.NetworkUDP, Name: "dns"})
	eventually(t, func() bool { return len(h.Stats().Services) == 1 }, h.log.text)
	listenTo(control)
	public := h.Stats().Services[0].Addr
	begin := func(text string) (*net.UDPConn, net.Conn, uint32) {
		user := udpUser(t, public)
		sendPacket(t, user, []byte(text))
		conn, err := h.knock(t, h.key.Session(w.Secret[:]), wire.KindPool, w.Session[:])
		require.NoError(t, err)
		_, err = io.ReadFull(conn, make([]byte, 8))
		require.NoError(t, err)
		start := nextFrame(t, conn)
		conn.Write(wire.AppendFrame(nil, wire.FrameAck, start.Stream))
		require.Equal(t, wire.FrameData, nextFrame(t, conn).Type)
		conn.SetReadDeadline(time.Now().Add(patience))
		receive(t, conn, string(wire.AppendDatagram(nil, []byte(text))))
		return user, conn, start.Stream
	}
	stuck, _, _ := begin("stuck")
	live, conn, number := begin("live")
	eventually(t, func() bool {
		for range 50 {
			sendPacket(t, stuck, make([]byte, 60000))
		}
		return h.Stats().Dropped > 0
	}, h.log.text)
	h.log.find(t, `service "dns": a user's datagram is dropped: they come faster than the client takes them`)
	sendPacket(t, live, []byte("question"))
	require.Equal(t, wire.FrameData, nextFrame(t, conn).Type)
	receive(t, conn, string(wire.AppendDatagram(nil, []byte("question"))))
	conn.Write(wire.AppendFrame(nil, wire.FrameData, number, wire.AppendDatagram(nil, []byte("answer"))...))
	require.Equal(t, "answer", string(receivePacket(t, live)))

	conn.Write(wire.AppendFrame(nil, wire.FrameData, number, 0xff, 0xff, 0xff))
	require.Equal(t, wire.FrameReset, nextFrame(t, conn).Type)
}

// nextFrame reads a frame's header.
func nextFrame(t testing.TB, conn net.Conn) wire.FrameHeader {
	t.Helper()
	head := make([]byte, wire.FrameHeaderSize)
	_, err := io.ReadFull(conn, head)
	require.NoError(t, err)
	h, err := wire.ParseFrameHeader(head)
	require.NoError(t, err)
	return h
}

// TestUDPSources: who may not come takes nobody's place among the flows.
func TestUDPSources(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.MaxFlows = 1 })
	g := startClient(t, h, packetTarget(t, echoPacket), func(cfg *ClientConfig) {
		udpService(cfg.Services[0].Target)(cfg)
		cfg.Services[0].AllowFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	})
	stranger := udpUser(t, g.public(0))
	for range 10 {
		sendPacket(t, stranger, []byte("let me in"))
	}
	eventually(t, func() bool { return h.Stats().Elsewhere == 10 }, h.log.text)
	c, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("udp", g.public(0))
	require.NoError(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	sendPacket(t, c, []byte("welcome"))
	require.Equal(t, "welcome", string(receivePacket(t, c)))
}
