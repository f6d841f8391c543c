package service

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestUsersAreProbed: who is accepted has the probes that were set on the port.
func TestUsersAreProbed(t *testing.T) {
	l, err := Listen("127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	user, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer user.Close()
	conn, err := l.Accept()
	require.NoError(t, err)
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	get := func(level, name int) (value int) {
		require.NoError(t, raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, name) }))
		require.NoError(t, err)
		return value
	}
	require.Equal(t, 1, get(unix.SOL_SOCKET, unix.SO_KEEPALIVE))
	require.Equal(t, int(probeIdle.Seconds()), get(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE))
	require.Equal(t, int(probeInterval.Seconds()), get(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL))
	require.Equal(t, probeCount, get(unix.IPPROTO_TCP, unix.TCP_KEEPCNT))
}
