package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// crowded is a listener whose queue is full: Linux answers no further SYN.
// giveWay empties the queue of those who filled it.
func crowded(t *testing.T) (l net.Listener, giveWay func()) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	file := os.NewFile(uintptr(fd), "crowded")
	defer file.Close()
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, syscall.Listen(fd, 1))
	l, err = net.FileListener(file)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	var filling []net.Conn
	giveWay = func() {
		for _, c := range filling {
			c.Close() // accepted as connections that say nothing
		}
		filling = nil
	}
	t.Cleanup(giveWay)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		c, err := new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
		cancel()
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
			return l, giveWay
		}
		require.NoError(t, err)
		filling = append(filling, c)
		require.Less(t, len(filling), 16, fmt.Sprintf("the queue of %v does not fill", l.Addr()))
	}
}

// TestFullBacklog: the target's machine answers the dial only after 3 s.
func TestFullBacklog(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		t.Parallel()
		l, giveWay := crowded(t)
		servedLate(t, mode, l, l.Addr().String(), giveWay)
	})
}

// TestConnectTimeout is a service's own, and a user learns of it.
func TestConnectTimeout(t *testing.T) {
	const limit = 300 * time.Millisecond
	h := startServer(t, pool.TLSPlain)
	dead, _ := crowded(t)
	g := startClient(t, h, dead.Addr().String(), func(cfg *ClientConfig) { cfg.Services[0].ConnectTimeout = limit })
	begun := time.Now()
	_, err := io.ReadAll(g.dial(t))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.GreaterOrEqual(t, time.Since(begun), limit)
	require.Less(t, time.Since(begun), DefaultConnectTimeout)
	g.log.find(t, "did not answer in time")
}
