//go:build unix

package activation

import (
	"os"

	"golang.org/x/sys/unix"
)

// listening reports whether a socket takes connections. One that systemd has
// accepted itself, where the unit says Accept=yes, does not, and would fail at
// every Accept.
func listening(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return true
	}
	accepts := 1
	_ = raw.Control(func(fd uintptr) {
		if v, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil {
			accepts = v
		}
	})
	return accepts != 0
}
