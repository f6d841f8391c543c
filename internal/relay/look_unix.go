//go:build unix

package relay

import "golang.org/x/sys/unix"

// pollBroken reports a socket error that is pending. POLLHUP alone is none: two
// ends in order give it too.
func pollBroken(fd uintptr) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd)}}
	for {
		n, err := unix.Poll(fds[:], 0)
		if err == unix.EINTR {
			continue
		}
		return err == nil && n > 0 && fds[0].Revents&unix.POLLERR != 0
	}
}

// pollReadable reports whether a read would not wait.
func pollReadable(fd uintptr) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds[:], 0)
		if err == unix.EINTR {
			continue
		}
		return err != nil || n > 0
	}
}
