//go:build unix

package pool

import "golang.org/x/sys/unix"

// readSocket reads a non-blocking socket. again: there is nothing yet.
func readSocket(fd uintptr, b []byte) (n int, again bool, err error) {
	for {
		n, err = unix.Read(int(fd), b)
		if err != unix.EINTR {
			return n, err == unix.EAGAIN, err
		}
	}
}
