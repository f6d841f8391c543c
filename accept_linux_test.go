package pool

import (
	"cmp"
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
	for _, set := range []time.Duration{0, 12 * time.Second, -1} {
		d := openDoor(t, AcceptConfig{TLS: TLSPlain, KeepAlive: set})
		conn, err := d.secure(t, Security{TLS: TLSPlain})
		require.NoError(t, err)
		server := (<-d.arrivals).conn
		require.Equal(t, 1, option(server, unix.IPPROTO_TCP, unix.TCP_NODELAY))
		if set < 0 {
			require.Zero(t, option(server, unix.SOL_SOCKET, unix.SO_KEEPALIVE))
		} else {
			seconds := int(cmp.Or(set, 30*time.Second).Seconds())
			idle := option(server, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
			interval := option(server, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL)
			count := option(server, unix.IPPROTO_TCP, unix.TCP_KEEPCNT)
			require.Equal(t, 1, option(server, unix.SOL_SOCKET, unix.SO_KEEPALIVE))
			require.GreaterOrEqual(t, idle, seconds/2)
			require.LessOrEqual(t, idle, seconds)
			require.Equal(t, (seconds+8)/9, interval)
			gone := idle + count*interval
			require.GreaterOrEqual(t, gone, 2*seconds)
			require.Less(t, gone, 2*seconds+interval)
		}
		conn.Close()
		server.Close()
	}
}
