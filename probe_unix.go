//go:build unix && !linux

package pool

import "golang.org/x/sys/unix"

// pollState holds the byte that a peek copies.
type pollState struct{ one [1]byte }

// look peeks. An end-of-file behind unread bytes stays unseen until they are
// read; PairTimeout bounds that on the client, and on the server bytes are
// death already.
func (s *pollState) look(fd uintptr) liveness {
	for {
		n, _, err := unix.Recvfrom(int(fd), s.one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN || err == unix.EWOULDBLOCK:
			return livenessQuiet
		case err != nil || n == 0:
			return livenessDead
		}
		return livenessReadable
	}
}
