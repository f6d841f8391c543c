package congestion

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// packet is about what fits into one.
const packet = 1200

// lookAgain is how long a path is taken to be as short as it was found.
const lookAgain = 100 * time.Millisecond

// Window is what is known of a connection's congestion window. It is for one
// goroutine.
type Window struct {
	raw   syscall.RawConn // nil: nothing is known
	short time.Time       // until when the path is taken to be too short for pauses
}

// Watch looks at a connection's socket, below TLS.
func Watch(conn net.Conn) *Window { return &Window{raw: socketOf(conn)} }

// Pause is how long a write of size bytes is to be held back so that others go
// along with it. It is 0 but for a small one on a path with a long round trip
// whose window is nearly used up.
func (w *Window) Pause(size int) time.Duration {
	if w.raw == nil || size >= packet || time.Now().Before(w.short) {
		return 0
	}
	var info *unix.TCPInfo
	err := w.raw.Control(func(fd uintptr) {
		info, _ = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	if err != nil || info == nil {
		return 0
	}
	roundTrip := time.Duration(info.Rtt) * time.Microsecond
	if roundTrip < 4*leastPause {
		w.short = time.Now().Add(lookAgain)
		return 0
	}
	return pause(info.Snd_cwnd, info.Unacked, roundTrip)
}

// Steady has the connection's window shrink for losses only. BBR, which a system
// may have for all, takes it down to four packets for 200 ms every ten seconds to
// measure the round trip (draft-ietf-ccwg-bbr, ProbeRTT), and messages that users
// wait for must not wait for that. It is for a connection that sends little.
func Steady(conn net.Conn) {
	raw := socketOf(conn)
	if raw == nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if now, err := unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION); err != nil || now != "bbr" {
			return
		}
		for _, name := range []string{"cubic", "reno"} { // the second is always there
			if unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, name) == nil {
				return
			}
		}
	})
}

func socketOf(conn net.Conn) syscall.RawConn {
	for conn != nil {
		if sc, ok := conn.(syscall.Conn); ok {
			if raw, err := sc.SyscallConn(); err == nil {
				return raw
			}
			return nil
		}
		l, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		conn = l.NetConn()
	}
	return nil
}
