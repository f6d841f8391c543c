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

const (
	// restAfter is how long a stream that moved is left alone, and so how long
	// it must have been still, once or twice this, until it is put to rest.
	restAfter = 250 * time.Millisecond

	// A stream at rest is relieved twice. Go starts goroutines on stacks as large
	// as what it found in use on average at its last collection, and the first
	// relief may find the sizes of busier times. The second comes when there
	// probably was another, see package slack.
	reliefs    = 2
	againAfter = 750 * time.Millisecond
)

// errRest: the reader is to be relieved.
var errRest = errors.New("at rest")

// movedLocked reports whether bytes went either way since the last call.
func (s *stream) movedLocked() bool {
	all := s.sent.Load() + s.received.Load()
	moved := all != s.moved
	if s.moved = all; moved {
		s.relieved = 0
	}
	return moved
}

// restLocked wakes the two goroutines of a stream that is still, so that they
// are relieved: the writer in its read of the endpoint, which loses nothing by
// a deadline, the reader where it waits for a frame, and only there. It returns
// when to look again.
func (s *stream) restLocked() (next time.Duration) {
	if s.relieved == reliefs || s.aborted || s.sentEnd != 0 || s.gotEnd != 0 {
		return lookEvery
	}
	s.relieved++
	s.end.SetReadDeadline(time.Unix(1, 0))
	if s.awaits && canPark && socketOf(s.conn) != nil {
		s.woken = true
		s.conn.SetReadDeadline(time.Unix(1, 0))
	}
	if s.relieved < reliefs {
		return againAfter
	}
	return lookEvery
}

// await runs a wait of the reader's for the pooled connection, in which it may
// be woken: then the error is errRest.
func (s *stream) await(wait func() error) error {
	s.mu.Lock()
	s.awaits = true
	s.mu.Unlock()
	err := wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaits = false
	if !s.woken {
		return err
	}
	s.woken = false
	if s.aborted {
		s.boundLocked() // either has overwritten the other
	} else {
		s.conn.SetReadDeadline(time.Time{})
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errRest
	}
	return err
}

// next is the reader's next frame, or errRest.
func (s *stream) next(f *frameReader) (h wire.FrameHeader, err error) {
	err = s.await(func() (err error) {
		h, err = f.next()
		return err
	})
	return h, err
}

// resume waits until the pooled connection has something to say, or has ended,
// and then goes on to read.
func (s *stream) resume(read func()) {
	err := s.await(func() error {
		if raw := socketOf(s.conn); raw != nil {
			return raw.Read(pollReadable)
		}
		return nil
	})
	if err == errRest {
		go s.resume(read) // ends as this one would have
		return
	}
	read() // meets the error too
}

// wokenToRest takes an error that ended the writer's read: whether it was woken
// to be relieved.
func (s *stream) wokenToRest(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	s.end.SetReadDeadline(time.Time{})
	return true
}
