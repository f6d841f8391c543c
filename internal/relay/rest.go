package relay

import (
	"errors"
	"os"
	"time"

	"github.com/tunnelpool/pool/internal/wire"
)

// Most users say nothing most of the time. The goroutines of their streams have
// grown by what they did, by TLS above all, and a stack that has grown is not
// given back while somebody waits on it. So both are relieved after a while
// without a byte, by goroutines that have done nothing yet.

// restAfter is how long a stream that moved is left alone, and so how long it
// must have been still, once or twice this, until it is put to rest.
const restAfter = 500 * time.Millisecond

// errRest: the reader is to be relieved.
var errRest = errors.New("at rest")

// movedLocked reports whether bytes went either way since the last call.
func (s *stream) movedLocked() bool {
	all := s.sent.Load() + s.received.Load()
	moved := all != s.moved
	s.moved = all
	s.atRest = s.atRest && !moved
	return moved
}

// restLocked wakes the two goroutines of a stream that is still, so that they
// are relieved: the writer in its read of the endpoint, which loses nothing by
// a deadline, the reader where it waits for a frame, and only there.
func (s *stream) restLocked() {
	if s.atRest || s.aborted || s.sentEnd != 0 || s.gotEnd != 0 {
		return
	}
	s.atRest = true
	s.end.SetReadDeadline(time.Unix(1, 0))
	if s.awaits && canPark && socketOf(s.conn) != nil {
		s.woken = true
		s.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// next is the reader's next frame, or errRest.
func (s *stream) next(f *frameReader) (wire.FrameHeader, error) {
	s.mu.Lock()
	s.awaits = true
	s.mu.Unlock()
	h, err := f.next()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaits = false
	if !s.woken {
		return h, err
	}
	s.woken = false
	if s.aborted {
		s.boundLocked() // overwritten by the waking, or the other way round
	} else {
		s.conn.SetReadDeadline(time.Time{})
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errRest
	}
	return h, err
}

// resume waits for the pooled connection to have something to say, or to end,
// and goes on.
func (s *stream) resume(read func()) {
	if raw := socketOf(s.conn); raw != nil {
		_ = raw.Read(pollReadable) // the next read meets the error too
	}
	read()
}

// relieved takes an error that ended the writer's read: whether it was woken to
// be relieved.
func (s *stream) relieved(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	s.end.SetReadDeadline(time.Time{})
	return true
}
