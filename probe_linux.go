package pool

import "golang.org/x/sys/unix"

// pollState is the argument of poll(2). Linux tells end-of-file from bytes in
// one call (POLLRDHUP), so nothing is peeked at.
type pollState struct{ fds [1]unix.PollFd }

func (s *pollState) look(fd uintptr) liveness {
	s.fds[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}
	for {
		n, err := unix.Poll(s.fds[:], 0)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return livenessUnknown
		case n == 0:
			return livenessQuiet
		case s.fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0:
			return livenessDead
		}
		return livenessReadable
	}
}
