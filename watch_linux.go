package pool

import (
	"encoding/binary"
	"syscall"

	"golang.org/x/sys/unix"
)

// watch asks the system once for each idle connection, instead of looking at
// each of them every second: an epoll that is never waited for. A connection is
// reported once, and then has to be added again, so that those that are out
// cost nothing. One that is closed is forgotten by the system.
type watch struct {
	epoll  int
	events [128]unix.EpollEvent
}

// newWatch returns nil when the system refuses, as with no descriptor left.
func newWatch() *watch {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	return &watch{epoll: fd}
}

func (w *watch) close() {
	if w != nil {
		unix.Close(w.epoll)
	}
}

// add watches a connection for bytes, its end, and errors; what is there already
// counts. False: it cannot be watched.
func (w *watch) add(raw syscall.RawConn, id ID) bool {
	if w == nil || raw == nil {
		return false
	}
	added := false
	_ = raw.Control(func(fd uintptr) {
		// The ID is the system's to keep for us, in place of the descriptor.
		e := unix.EpollEvent{
			Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT,
			Fd:     int32(binary.NativeEndian.Uint32(id[:4])), Pad: int32(binary.NativeEndian.Uint32(id[4:])),
		}
		err := unix.EpollCtl(w.epoll, unix.EPOLL_CTL_MOD, int(fd), &e)
		if err == unix.ENOENT {
			err = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, int(fd), &e)
		}
		added = err == nil
	})
	return added
}

// fired calls f with the ID of each connection that has something to say.
func (w *watch) fired(f func(ID)) {
	if w == nil {
		return
	}
	for {
		n, err := unix.EpollWait(w.epoll, w.events[:], 0)
		if err == unix.EINTR {
			continue
		}
		for _, e := range w.events[:max(n, 0)] {
			var id ID
			binary.NativeEndian.PutUint32(id[:4], uint32(e.Fd))
			binary.NativeEndian.PutUint32(id[4:], uint32(e.Pad))
			f(id)
		}
		if n < len(w.events) {
			return
		}
	}
}
