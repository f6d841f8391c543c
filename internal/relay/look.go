package relay

import (
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/tunnelpool/pool/internal/wire"
)

// lookEvery is how often both connections of a stream are looked at for a
// reset. A side that is held up by the other's slow reader reads neither of
// them, and would learn of an abort only when that one reads on: never, if it
// has left.
const lookEvery = 5 * time.Second

var errCut = errors.New("the other side cut the connection")

// lookOut looks at both connections now and then until stopLookingLocked. A
// stream whose endpoint was reset is aborted, as if a read had told; one whose
// pooled connection was reset is over. One that no longer moves is put to rest.
func (s *stream) lookOut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look = time.AfterFunc(lookEvery, func() {
		if next := s.lookOnce(); next > 0 {
			s.look.Reset(next)
		}
	})
	s.look.Reset(restAfter) // once look is set: the function reads it
}

func (s *stream) stopLookingLocked() {
	s.over = true
	s.look.Stop()
}

// lookOnce returns when to look again, 0 for not at all. Who holds the lock for
// long is writing a RESET, which is bounded.
func (s *stream) lookOnce() (next time.Duration) {
	if !s.mu.TryLock() {
		return lookEvery
	}
	defer s.mu.Unlock()
	switch {
	case s.over:
		return 0
	case !s.acked.Load(): // until ACK the hand-off sees to both
		return restAfter
	case wasReset(s.conn):
		s.brokeLocked(errCut)
	case !s.aborted && wasReset(s.end):
		s.abortLocked(wire.ResetAborted)
		s.resetEndLocked()
	case s.movedLocked():
		return restAfter
	default:
		s.restLocked()
	}
	return lookEvery
}

// wasReset reports whether the peer reset conn, or the system gave it up, and
// no call has met that yet. It sees the end of a connection behind bytes that
// nobody has read, and takes none of them. Without access to a socket, and
// nobody else to ask, it is false.
func wasReset(conn net.Conn) bool {
	if b, ok := conn.(interface{ Broken() bool }); ok { // a carrier's
		return b.Broken()
	}
	raw := socketOf(conn)
	if raw == nil {
		return false
	}
	broken := false
	err := raw.Control(func(fd uintptr) { broken = pollBroken(fd) })
	return err == nil && broken
}

// socketOf finds the socket at the bottom of conn, or nil.
func socketOf(conn net.Conn) syscall.RawConn {
	for conn != nil {
		if sc, ok := conn.(syscall.Conn); ok {
			if raw, err := sc.SyscallConn(); err == nil {
				return raw
			}
			return nil
		}
		l, ok := conn.(layered)
		if !ok {
			return nil
		}
		conn = l.NetConn()
	}
	return nil
}

// layered is a connection on top of another, as *tls.Conn is.
type layered interface{ NetConn() net.Conn }

// cut closes a connection whose stream broke with a reset, so that it reaches a
// peer that reads nothing, and without waiting for one: not even to say goodbye
// under TLS.
func cut(conn net.Conn) {
	for below := conn; below != nil; {
		if tcp, ok := below.(lingerer); ok {
			tcp.SetLinger(0)
			below.Close()
			break
		}
		l, ok := below.(layered)
		if !ok {
			break
		}
		below = l.NetConn()
	}
	conn.Close()
}
