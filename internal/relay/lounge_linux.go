package relay

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lounge waits for sockets of which many are quiet for long, without a goroutine
// for each: an epoll with one goroutine, which lives while somebody waits.
type lounge struct {
	mu      sync.Mutex // guards what follows
	epoll   *os.File   // nil: not made yet
	raw     syscall.RawConn
	running bool
	last    uint64
	guests  map[uint64]func() // by the token that epoll keeps
}

// theLounge is the process's.
var theLounge lounge

// enter has ready called, in a goroutine of its own, when the socket is readable
// or has ended, unless leave is called before; closing the socket does not call
// it. leave reports whether it was in time. Nil: the socket cannot be waited for
// here.
func (l *lounge) enter(raw syscall.RawConn, ready func()) (leave func() bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoll == nil && !l.openLocked() {
		return nil
	}
	l.last++
	token := l.last
	l.guests[token] = ready
	if !l.addLocked(raw, token) {
		delete(l.guests, token)
		return nil
	}
	if !l.running {
		l.running = true
		l.epoll.SetReadDeadline(time.Time{})
		go l.run() // ends when nobody waits any more
	}
	return func() bool { return l.leave(token) }
}

// leave reports whether the guest was still waiting.
func (l *lounge) leave(token uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, waits := l.guests[token]
	delete(l.guests, token)
	if l.running && len(l.guests) == 0 {
		l.epoll.SetReadDeadline(time.Unix(1, 0)) // wakes run
	}
	return waits
}

func (l *lounge) openLocked() bool {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	_ = unix.SetNonblock(fd, true) // so that the runtime's poller takes it
	f := os.NewFile(uintptr(fd), "epoll")
	raw, err := f.SyscallConn()
	if err != nil || f.SetReadDeadline(time.Time{}) != nil {
		f.Close()
		return false
	}
	l.epoll, l.raw, l.guests = f, raw, make(map[uint64]func())
	return true
}

func (l *lounge) addLocked(raw syscall.RawConn, token uint64) bool {
	added := false
	_ = l.raw.Control(func(epoll uintptr) {
		_ = raw.Control(func(fd uintptr) {
			e := unix.EpollEvent{
				Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT,
				Fd:     int32(token), Pad: int32(token >> 32),
			}
			err := unix.EpollCtl(int(epoll), unix.EPOLL_CTL_MOD, int(fd), &e)
			if err == unix.ENOENT {
				err = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, int(fd), &e)
			}
			added = err == nil
		})
	})
	return added
}

// run calls those whose sockets are ready.
func (l *lounge) run() {
	var events [64]unix.EpollEvent
	for {
		n := 0
		_ = l.raw.Read(func(epoll uintptr) bool {
			var err error
			for n, err = unix.EpollWait(int(epoll), events[:], 0); err == unix.EINTR; {
				n, err = unix.EpollWait(int(epoll), events[:], 0)
			}
			return n != 0
		})
		l.mu.Lock()
		for _, e := range events[:max(n, 0)] {
			token := uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
			if ready := l.guests[token]; ready != nil {
				delete(l.guests, token)
				go ready() // its own affair
			}
		}
		if len(l.guests) == 0 {
			l.running = false
			l.mu.Unlock()
			return
		}
		l.epoll.SetReadDeadline(time.Time{}) // a guest came when the last had just left
		l.mu.Unlock()
	}
}
