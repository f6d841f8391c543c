package tunnel

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
)

// TestInheritedPort: a service on a port whose socket the program was given.
// Between two clients users wait in the socket's queue.
func TestInheritedPort(t *testing.T) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := portOf(t, socket.Addr().String())
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Inherited = []net.Listener{socket} })
	target := startTarget(t, echo)
	change := func(cfg *ClientConfig) { cfg.Services[0].Port = port }
	for range 2 {
		early := dialUser(t, socket.Addr().String())
		send(t, early, "early")
		g := startClient(t, h, target, change)
		require.Equal(t, port, portOf(t, g.public(0)))
		receive(t, early, "early")
		works(t, g)
		early.Close()
		g.stop()
		<-g.done
		eventually(t, func() bool { return len(h.Stats().Services) == 0 }, h.log.text)
	}
	h.stop()
	<-h.done
	_, err = net.Dial("tcp", socket.Addr().String())
	require.Error(t, err, "the server that is over keeps its socket")
}

// TestInheritedPortIsOnes: two services on one socket would take each other's
// users.
func TestInheritedPortIsOnes(t *testing.T) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := portOf(t, socket.Addr().String())
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Inherited = []net.Listener{socket} })
	for range 2 {
		first, err := h.listenPublic(nil, wire.NetworkTCP, h.listenTCP, "127.0.0.1", port)
		require.NoError(t, err)
		require.Equal(t, socket.Addr(), first.Addr())
		_, err = h.listenPublic(nil, wire.NetworkTCP, h.listenTCP, "127.0.0.1", port)
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		require.NoError(t, first.Close())
		second, err := h.listenPublic(nil, wire.NetworkTCP, h.listenTCP, "127.0.0.1", port)
		require.NoError(t, err, "it was given back")
		require.Error(t, first.Close(), "the second time")
		_, err = h.listenPublic(nil, wire.NetworkTCP, h.listenTCP, "127.0.0.1", port)
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		require.NoError(t, second.Close())
	}
}

func TestLeadsTo(t *testing.T) {
	for _, tt := range []struct {
		at, bind string
		port     uint16
		leads    bool
	}{
		{"0.0.0.0:80", "", 80, true},
		{"[::]:80", "", 80, true},
		{"[::]:80", "0.0.0.0", 80, true},
		{"[::]:80", "", 81, false},
		{"[::]:80", "", 0, false},
		{"[::]:80", "127.0.0.1", 80, false},
		{"127.0.0.1:80", "127.0.0.1", 80, true},
		{"127.0.0.1:80", "127.0.0.2", 80, false},
		{"127.0.0.1:80", "", 80, false},
		{"[::1]:80", "::1", 80, true},
	} {
		at, err := net.ResolveTCPAddr("tcp", tt.at)
		require.NoError(t, err)
		require.Equal(t, tt.leads, leadsTo(at, tt.bind, tt.port), "%+v", tt)
	}
}
