package relay

import (
	"net"
	"syscall"
)

// sendRoom is how much a stream in bulk may read of one connection to pass it on
// to conn: what a small buffer holds, or more if conn has room for it. So it is
// the kernel that keeps what a slow reader has not read, and not a large buffer.
func sendRoom(conn net.Conn) int {
	room := 0
	for conn != nil {
		if sc, ok := conn.(syscall.Conn); ok {
			if raw, err := sc.SyscallConn(); err == nil {
				_ = raw.Control(func(fd uintptr) { room = socketRoom(fd) })
			}
			break
		}
		l, ok := conn.(layered)
		if !ok {
			break
		}
		conn = l.NetConn()
	}
	return max(room, smallBuffer)
}
