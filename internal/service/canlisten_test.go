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
			p.Close()
			require.NoError(t, CanListen("udp", at))
		})
	}
	require.ErrorIs(t, CanListen("tcp", "192.0.2.1:80"), syscall.EADDRNOTAVAIL)
	require.Error(t, CanListen("tcp", "nosuch.invalid:80"))
}

// TestCanListenLetsNobodyIn: a port that is tried is not open meanwhile, and may be
// opened by somebody else.
func TestCanListenLetsNobodyIn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	at := l.Addr().String()
	l.Close()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				CanListen("tcp", at)
			}
		}
	}()
	for range 500 {
		c, err := net.Dial("tcp", at)
		if err == nil {
			c.Close()
		}
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
	}
	close(stop)
	<-done
}
