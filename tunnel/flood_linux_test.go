package tunnel

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// bindLate lets the system choose a port when it knows the destination too.
// Otherwise 30,000 connections in a minute use up an address.
func bindLate(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
}
