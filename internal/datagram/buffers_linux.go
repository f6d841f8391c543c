package datagram

import (
	"net"

	"golang.org/x/sys/unix"
)

// enlarge gives a socket as large buffers as the system allows, up to
// socketBuffer each way.
func enlarge(socket *net.UDPConn) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		for _, o := range []struct{ privileged, usual int }{
			{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF},
			{unix.SO_SNDBUFFORCE, unix.SO_SNDBUF},
		} {
			if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, o.privileged, socketBuffer) != nil {
				_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, o.usual, socketBuffer)
			}
		}
	})
}
