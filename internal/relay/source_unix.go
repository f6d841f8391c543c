//go:build unix

package relay

import "golang.org/x/sys/unix"

// canPark: a read may wait for a socket without a buffer.
const canPark = true

// readSocket reads a non-blocking socket. again: there is nothing yet.
func readSocket(fd uintptr, b []byte) (n int, again bool, err error) {
	for {
		n, err = unix.Read(int(fd), b)
		switch err {
		case nil:
			return n, false, nil
		case unix.EINTR:
			continue
		}
		return 0, err == unix.EAGAIN, err
	}
}
