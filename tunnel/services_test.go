package tunnel

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/testnet"
)

func portOf(t testing.TB, addr string) uint16 {
	t.Helper()
	_, text, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	port, err := strconv.ParseUint(text, 10, 16)
	require.NoError(t, err)
	return uint16(port)
}

// freePort finds a free port that stays free until the test wants it taken.
func freePort(t testing.TB) uint16 {
	t.Helper()
	port, err := testnet.FreePort()
	require.NoError(t, err)
	return port
}

func TestDeniedServices(t *testing.T) {
	allowed := freePort(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	takenPort := portOf(t, taken.Addr().String())
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) {
		cfg.AllowPorts = fmt.Sprintf("%d,%d,65535", allowed, takenPort)
	})
	holder := startClient(t, h, startTarget(t, echo), func(cfg *ClientConfig) {
		cfg.Name, cfg.Services[0].Port = "holder", allowed
	})
	for _, tt := range []struct {
		name   string
		ask    Service
		reason string
		remedy string
	}{
		{"not allowed", Service{Port: 1}, "port 1 is not among those of the server's --allow-ports (" + h.cfg.Load().AllowPorts + ")", "choose another port"},
		{"taken", Service{Port: takenPort}, fmt.Sprintf("port %d is in use by another program on the server", takenPort), "choose another port"},
		{"held", Service{Port: allowed}, fmt.Sprintf("port %d is held by client \"holder\"", allowed), "trying again until it is free"},
		{"own", Service{Port: portOf(t, h.addr())}, fmt.Sprintf("port %d is the tunnel's own", portOf(t, h.addr())), "choose another port"},
		{"bind", Service{Port: 65535, Bind: "127.0.0.2"}, "the server binds public ports to 127.0.0.1 only", "leave the bind address out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := h.clientConfig("localhost:1")
			tt.ask.Name, tt.ask.Target = "asked", "localhost:1"
			cfg.Services[0] = tt.ask
			g := runClient(t, cfg)
			line := g.log.find(t, `Service "asked" is not up: `+tt.reason)
			require.Contains(t, line, tt.remedy)
			require.Equal(t, tt.reason, g.Services()[0].Reason)
			h.log.find(t, `service "asked" on port `+strconv.Itoa(int(tt.ask.Port))+" denied: "+tt.reason)
			ctx, cancel := contextFor(t, 10*time.Millisecond)
			defer cancel()
			require.ErrorContains(t, g.Up(ctx), tt.reason)
		})
	}
	works(t, holder)
}

func TestBindAddresses(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Bind = "" })
	target := startTarget(t, echo)
	g := startClient(t, h, target, func(cfg *ClientConfig) {
		cfg.Services = []Service{{Name: "any", Target: target}, {Name: "one", Bind: "127.0.0.2", Target: target}}
	})
	require.True(t, strings.HasPrefix(g.public(0), "127.0.0.1:"), "a wildcard is told as the server's host: %s", g.public(0))
	require.True(t, strings.HasPrefix(g.public(1), "127.0.0.2:"), g.public(1))
	works(t, g)
	cfg := h.clientConfig(target)
	cfg.Services[0].Bind = "192.0.2.1"
	runClient(t, cfg).log.find(t, "the server has no such address")
}

// TestServices: two of one client, with a port of their choice and one of the
// server's, each to its own target.
func TestServices(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		says := func(word string) string {
			return startTarget(t, func(c *net.TCPConn) { io.WriteString(c, word) })
		}
		chosen := freePort(t)
		h := startServer(t, mode)
		g := startClient(t, h, "", func(cfg *ClientConfig) {
			cfg.Services = []Service{{Port: chosen, Target: says("one")}, {Name: "two", Target: says("two")}}
		})
		require.Equal(t, chosen, portOf(t, g.public(0)))
		require.GreaterOrEqual(t, portOf(t, g.public(1)), uint16(1024))
		for i, want := range []string{"one", "two"} {
			got, err := io.ReadAll(dialUser(t, g.public(i)))
			require.NoError(t, err)
			require.Equal(t, want, string(got))
		}
		status := h.Stats().Services
		require.Len(t, status, 2)
		require.Equal(t, "guest", status[0].Client)
		t.Log(g.log.find(t, `Service "two" is up: `+g.public(1)+" leads to "))
	})
}

// TestPortZero with few ports allowed: the server finds one among them.
func TestPortZero(t *testing.T) {
	only := freePort(t)
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.AllowPorts = strconv.Itoa(int(only)) })
	g := startClient(t, h, startTarget(t, echo))
	require.Equal(t, only, portOf(t, g.public(0)))
	cfg := h.clientConfig("localhost:1")
	runClient(t, cfg).log.find(t, "no allowed port is free")
}

// TestClientRestart: a client that said goodbye comes back with the same
// identity, and has its port again.
func TestClientRestart(t *testing.T) {
	h := startServer(t, pool.TLSSelfSigned)
	port, target := freePort(t), startTarget(t, echo)
	change := func(cfg *ClientConfig) { cfg.Identity, cfg.Services[0].Port = [16]byte{7}, port }
	for range 3 {
		g := startClient(t, h, target, change)
		require.Equal(t, port, portOf(t, g.public(0)))
		works(t, g)
		g.Close()
		<-g.done
		eventually(t, func() bool { s := h.Stats(); return s.Sessions == 0 && len(s.Services) == 0 }, h.log.text)
		_, err := net.Dial("tcp", g.public(0))
		require.Error(t, err, "the port of a client that stopped is open")
	}
}

func TestServerRestart(t *testing.T) {
	port, target := freePort(t), startTarget(t, echo)
	h := startServer(t, pool.TLSSelfSigned)
	g := startClient(t, h, target, func(cfg *ClientConfig) { cfg.Services[0].Port = port })
	works(t, g)
	h.Close()
	<-h.done
	eventually(t, func() bool { return !g.Stats().Connected && !g.Services()[0].Up }, g.log.text)
	again := startServer(t, pool.TLSSelfSigned, func(cfg *ServerConfig) { cfg.Listen, cfg.Keys = h.addr(), h.cfg.Load().Keys })
	g.up(t)
	require.Equal(t, 1, again.Stats().Sessions)
	works(t, g)
}

// TestWaitingUsersTimeOut: with a client whose pool cannot grow, users wait,
// and those that wait in vain are counted and logged.
func TestWaitingUsersTimeOut(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Wait = 100 * time.Millisecond })
	conn, _ := h.joinAndRegister(t, "lazy") // and never dials a pooled connection
	defer conn.Close()
	c := dialUser(t, h.Stats().Services[0].Addr)
	begun := time.Now()
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.GreaterOrEqual(t, time.Since(begun), 90*time.Millisecond)
	require.EqualValues(t, 1, h.Stats().Timeouts)
	require.Zero(t, h.Stats().Streams)
	t.Log(h.log.find(t, "waited 100ms for a connection and got none"))
}

// TestNeed: more users at once than connections are warm; all are served.
func TestNeed(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		h := startServer(t, mode)
		g := startClient(t, h, startTarget(t, echo), func(cfg *ClientConfig) { cfg.PoolMin = 1 })
		var users sync.WaitGroup
		hold := make(chan struct{})
		begun := time.Now()
		for range 50 {
			users.Go(func() {
				c := g.dial(t)
				send(t, c, "here")
				receive(t, c, "here")
				<-hold // so that none is served by a connection that came back
			})
		}
		eventually(t, func() bool { return h.Stats().Open == 50 && g.Stats().Open == 50 }, g.log.text)
		close(hold)
		users.Wait()
		require.EqualValues(t, 50, g.Stats().Streams)
		t.Logf("50 users served after %v", time.Since(begun).Round(time.Millisecond))
	})
}

// TestRefusedTarget: the user sees a reset, the log says why, and the pooled
// connection serves the next.
func TestRefusedTarget(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		h := startServer(t, mode)
		closed := fmt.Sprintf("127.0.0.1:%d", freePort(t))
		g := startClient(t, h, closed, func(cfg *ClientConfig) {
			cfg.PoolMin = 2
			cfg.Services = append(cfg.Services, Service{Name: "good", Target: startTarget(t, echo)})
		})
		for range 10 {
			c, err := net.Dial("tcp", g.public(0))
			if err == nil { // the reset can be as fast as the dial
				_, err = io.ReadAll(c)
				c.Close()
			}
			require.ErrorIs(t, err, syscall.ECONNRESET)
		}
		c := dialUser(t, g.public(1))
		send(t, c, "hi")
		receive(t, c, "hi")
		c.Close()
		t.Log(g.log.find(t, `Service "web": target `+closed+" refused the connection: is it running?"))
		require.Equal(t, 1, g.log.count("refused the connection: is it running?"), "one line, not one for each user")
		require.EqualValues(t, 10, g.Stats().Refused)
		eventually(t, func() bool { return g.Stats().Open == 0 && h.Stats().Open == 0 }, g.log.text)
		require.Empty(t, g.Stats().Pool.Closed, "refused targets cost connections")
		require.Empty(t, h.Stats().Pools[0].Closed, "refused targets cost connections")
	})
}
