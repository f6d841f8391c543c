package carrier

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// queueLittle keeps the socket from taking more than it can soon send: what is
// sent next would have to wait behind it.
func queueLittle(conn net.Conn) {
	if l, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = l.NetConn()
	}
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := sc.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, kernelQueue)
		})
	}
}
