package pool

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestKeepAlive asks the kernel what the front door set.
func TestKeepAlive(t *testing.T) {
	option := func(conn net.Conn, level, name int) (value int) {
		raw, err := conn.(*net.TCPConn).SyscallConn()
		require.NoError(t, err)
		require.NoError(t, raw.Control(func(fd uintptr) {
			value, err = unix.GetsockoptInt(int(fd), level, name)
		}))
		require.NoError(t, err)
		return value
	}
	for _, tt := range []struct {
		set             time.Duration
		idle, intervals int // seconds; 0 is off
	}{
		{0, 30, 10}, {12 * time.Second, 12, 4}, {-1, 0, 0},
	} {
		d := openDoor(t, AcceptConfig{TLS: TLSPlain, KeepAlive: tt.set})
		conn, err := d.secure(t, Security{TLS: TLSPlain})
		require.NoError(t, err)
		server := (<-d.arrivals).conn
		require.Equal(t, 1, option(server, unix.IPPROTO_TCP, unix.TCP_NODELAY))
		if tt.idle == 0 {
			require.Zero(t, option(server, unix.SOL_SOCKET, unix.SO_KEEPALIVE))
		} else {
			require.Equal(t, 1, option(server, unix.SOL_SOCKET, unix.SO_KEEPALIVE))
			require.Equal(t, tt.idle, option(server, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE))
			require.Equal(t, tt.intervals, option(server, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL))
			require.Equal(t, 3, option(server, unix.IPPROTO_TCP, unix.TCP_KEEPCNT))
		}
		conn.Close()
		server.Close()
	}
}
