package pool

import "golang.org/x/sys/unix"

func writeUserTimeout(fd uintptr, millis int) {
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, millis)
}

// readUserTimeout answers 0 for a socket that is not TCP's.
func readUserTimeout(fd uintptr) (millis int) {
	millis, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	return millis
}
