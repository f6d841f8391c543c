package service

import (
	"net"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCanListen(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1", "", "0.0.0.0", "::"} {
		t.Run(host, func(t *testing.T) {
			l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
			if err != nil {
				t.Skip(err)
			}
			defer l.Close()
			at := net.JoinHostPort(host, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
			require.ErrorIs(t, CanListen("tcp", at), syscall.EADDRINUSE)
			require.NoError(t, CanListen("udp", at))
			l.Close()
			require.NoError(t, CanListen("tcp", at))
			again, err := net.Listen("tcp", at)
			require.NoError(t, err, "nothing is left of it")
			again.Close()

			p, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
			require.NoError(t, err)
			defer p.Close()
			at = net.JoinHostPort(host, strconv.Itoa(p.LocalAddr().(*net.UDPAddr).Port))
			require.ErrorIs(t, CanListen("udp", at), syscall.EADDRINUSE)
			require.NoError(t, CanListen("tcp", at))
		})
	}
	require.ErrorIs(t, CanListen("tcp", "192.0.2.1:80"), syscall.EADDRNOTAVAIL)
	require.Error(t, CanListen("tcp", "nosuch.invalid:80"))
}
