package relay

import "golang.org/x/sys/unix"

// socketRoom is about how much a socket takes before a write to it has to wait.
func socketRoom(fd uintptr) int {
	size, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
	if err != nil {
		return 0
	}
	queued, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	free := size - queued
	return free / 2 // what the kernel needs beside the bytes counts, too
}
