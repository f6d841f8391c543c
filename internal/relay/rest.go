package relay

import (
	"errors"
	"net"
	"os"
	"time"

	"github.com/tunnelpool/pool/internal/wire"
)

// Most users say nothing most of the time. A goroutine that waits for one costs
// its stack, and this has grown by what was done on it, by TLS above all. So a
// stream that is still for a while is put to rest: both its goroutines end, and
// the lounge waits for its sockets. Where there is no lounge they are relieved by
// goroutines that have done nothing yet.

// restAfter is how long a stream that moved is left alone, and so how long it
// must have been still, once or twice this, until it is put to rest.
const restAfter = 500 * time.Millisecond

// errRest: the reader is to rest.
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
// rest: the writer in its read of the endpoint, which loses nothing by a
// deadline, the reader where it waits for a frame, and only there.
func (s *stream) restLocked() {
	if s.readerRests != nil && closedHere(s.conn) { // by somebody else, whoever that may be
		s.rouseReaderLocked()
	}
	if s.atRest || s.aborted || s.sentEnd != 0 || s.gotEnd != 0 {
		return
	}
	s.atRest = true
	if s.writerRests == nil {
		s.end.SetReadDeadline(time.Unix(1, 0))
	}
	if s.awaits && mayRest(s.conn) {
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
		s.boundLocked() // either deadline has overwritten the other
	} else {
		s.conn.SetReadDeadline(time.Time{})
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errRest
		if !f.leftover() {
			f.release()
		}
	}
	return h, err
}

// restReader calls read when the pooled connection has something to say, or has
// ended, or is closed here.
func (s *stream) restReader(read func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ready := func() {
		s.mu.Lock()
		s.readerRests = nil
		s.mu.Unlock()
		read()
	}
	if !s.aborted {
		s.read = read
		if c, ok := s.conn.(awaiter); ok {
			s.readerRests = c.AwaitRead(ready)
			return
		}
		if s.readerRests = theLounge.enter(socketOf(s.conn), ready); s.readerRests != nil {
			return
		}
	}
	go func() { // ends as the one before would have
		if raw := socketOf(s.conn); raw != nil {
			_ = raw.Read(pollReadable) // the next read meets the error too
		}
		read()
	}()
}

// restWriter is the same for the writer and the endpoint.
func (s *stream) restWriter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	ready := func() {
		s.mu.Lock()
		s.writerRests = nil
		s.mu.Unlock()
		s.copyOut()
	}
	if a, ok := s.end.(awaiter); ok {
		s.writerRests = a.AwaitRead(ready)
		return
	}
	if !s.endGone && s.in.raw != nil {
		if s.writerRests = theLounge.enter(s.in.raw, ready); s.writerRests != nil {
			return
		}
	}
	go s.copyOut() // ends as the one before would have
}

// awaiter is a connection that tells by itself when a read would not wait, also
// for its deadline or for being closed: a stream of a carrier, an end of a flow
// of datagrams.
type awaiter interface {
	AwaitRead(readable func()) (leave func() bool)
}

// mayRest reports whether something else can wait for conn.
func mayRest(conn net.Conn) bool {
	if _, ok := conn.(awaiter); ok {
		return true
	}
	return canPark && socketOf(conn) != nil
}

// rouseReaderLocked lets the reader see what became of the pooled connection:
// the lounge knows neither of its deadlines nor of its being closed here.
func (s *stream) rouseReaderLocked() {
	if s.readerRests != nil && s.readerRests() {
		s.readerRests = nil
		go s.read() // ends as the reader does
	}
}

func closedHere(conn net.Conn) bool {
	if _, ok := conn.(awaiter); ok {
		return false // it tells
	}
	raw := socketOf(conn)
	return raw == nil || raw.Control(func(uintptr) {}) != nil
}

// resetEndLocked closes the endpoint with a reset, and lets the writer see it.
func (s *stream) resetEndLocked() {
	resetClose(s.end)
	s.endGone = true
	if s.writerRests != nil && s.writerRests() {
		s.writerRests = nil
		go s.copyOut() // ends as the writer does
	}
}

// wokenToRest takes an error that ended the writer's read.
func (s *stream) wokenToRest(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	s.end.SetReadDeadline(time.Time{})
	return true
}
