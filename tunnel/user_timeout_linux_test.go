package tunnel

import (
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	pool "github.com/tunnelpool/pool"
)

// TestUserTimeoutOfTheClientsConnections: control has it, and so have those
// that are idle.
func TestUserTimeoutOfTheClientsConnections(t *testing.T) {
	var mu sync.Mutex
	var conns []net.Conn // control first
	h := startServer(t, pool.TLSSelfSigned)
	startClient(t, h, "localhost:1", func(cfg *ClientConfig) {
		cfg.KeepAlive = 7 * time.Second
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				conns = append(conns, conn)
			}
			return conn, err
		}
	})
	mu.Lock()
	defer mu.Unlock()
	require.Greater(t, len(conns), 1)
	for _, conn := range conns {
		raw, err := conn.(*net.TCPConn).SyscallConn()
		require.NoError(t, err)
		var millis int
		require.NoError(t, raw.Control(func(fd uintptr) {
			millis, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		}))
		require.NoError(t, err)
		require.Equal(t, 14_000, millis)
	}
}

// TestPausedReader: whoever reads stops for several times the user timeout of
// idle connections, which would end the stream, and then reads on.
func TestPausedReader(t *testing.T) {
	const (
		keepAlive = 250 * time.Millisecond
		pause     = 4 * 2 * keepAlive // four user timeouts
		size      = 48 << 20          // more than all sockets on the way buffer
	)
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{'p'}).Read(data)
	want := sha256.Sum256(data)
	give := func(c *net.TCPConn) error {
		_, err := c.Write(data)
		c.CloseWrite()
		return err
	}
	take := func(c *net.TCPConn) ([32]byte, error) {
		hash := sha256.New()
		if _, err := io.CopyN(hash, c, 1<<20); err != nil {
			return [32]byte{}, err
		}
		time.Sleep(pause) // it is the fault
		_, err := io.Copy(hash, c)
		return [32]byte(hash.Sum(nil)), err
	}
	check := func(t *testing.T, target func(*net.TCPConn), user func(*testing.T, *net.TCPConn)) {
		inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
			t.Parallel() // most of it is the pause
			h := startServer(t, mode, func(cfg *ServerConfig) { cfg.KeepAlive = keepAlive })
			g := startClient(t, h, startTarget(t, target), func(cfg *ClientConfig) { cfg.KeepAlive = keepAlive })
			user(t, g.dial(t))
		})
	}
	t.Run("download", func(t *testing.T) {
		t.Parallel()
		check(t, func(c *net.TCPConn) { give(c) }, func(t *testing.T, c *net.TCPConn) {
			got, err := take(c)
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	})
	t.Run("upload", func(t *testing.T) {
		t.Parallel()
		check(t, func(c *net.TCPConn) {
			if got, err := take(c); err == nil && got == want {
				io.WriteString(c, "whole")
			}
		}, func(t *testing.T, c *net.TCPConn) {
			require.NoError(t, give(c))
			receive(t, c, "whole")
		})
	})
}
