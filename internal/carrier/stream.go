package carrier

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/tunnelpool/pool/internal/wire"
)

var errDeadline = os.ErrDeadlineExceeded

// Stream is one stream's end of a carrier: a net.Conn for frames, which carries
// those of its number and no others. Each Write takes whole frames.
type Stream struct {
	carrier *Carrier
	number  uint32

	// All guarded by the carrier's lock.
	changed    sync.Cond // bytes or room have come, a deadline or the end
	readable   func()    // called when a read would not wait; see AwaitRead
	unread     inbox
	room       int  // how much more may be sent
	given      int  // how much more may come
	window     int  // how much may be on its way, as we have it at present
	taken      int  // since room was given last
	started    bool // the client's: START has come
	done       bool // DONE has passed: nothing more is to be said
	cut        bool // the other side has left
	closed     bool
	readLimit  deadline
	writeLimit deadline
	claim      *time.Timer // runs while nobody has taken it; else nil
}

// brokenLocked is why nothing can be sent any more.
func (s *Stream) brokenLocked() error {
	switch {
	case s.closed:
		return net.ErrClosed
	case s.carrier.cause != nil:
		return fmt.Errorf("%w: %w", ErrEnded, s.carrier.cause)
	case s.cut:
		return fmt.Errorf("stream %d: %w by the other side", s.number, io.ErrClosedPipe)
	}
	return nil
}

// Read implements net.Conn. A stream that the other side has cut, and a carrier
// that has ended, are an end of file.
func (s *Stream) Read(b []byte) (int, error) {
	c := s.carrier
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case s.closed:
			return 0, net.ErrClosed
		case s.readLimit.passed():
			return 0, errDeadline
		case s.unread.len() > 0:
			n := s.unread.take(b)
			s.giveLocked(n)
			return n, nil
		case s.cut, c.cause != nil:
			return 0, io.EOF
		case len(b) == 0:
			return 0, nil
		}
		s.changed.Wait()
	}
}

// AwaitRead calls readable, once and in a goroutine of its own, as soon as a Read
// would not wait: for bytes, an end, a deadline that has passed, Close. Until
// then the stream keeps no buffer. leave takes that back, and reports whether it
// was in time. Nobody else may wait meanwhile.
func (s *Stream) AwaitRead(readable func()) (leave func() bool) {
	c := s.carrier
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.unread.len() == 0 {
		s.unread.release()
	}
	s.readable = readable
	s.noteReadableLocked()
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		waited := s.readable != nil
		s.readable = nil
		return waited
	}
}

func (s *Stream) noteReadableLocked() {
	readable := s.readable
	if readable == nil {
		return
	}
	if s.unread.len() > 0 || s.cut || s.closed || s.carrier.cause != nil || s.readLimit.passed() {
		s.readable = nil
		go readable() // its own affair
	}
}

// wakeLocked tells those who wait that something has changed.
func (s *Stream) wakeLocked() {
	s.changed.Broadcast()
	s.noteReadableLocked()
}

// giveLocked gives the other side room for what was taken, half a window at a
// time. A stream that is read as fast as it comes gets more.
func (s *Stream) giveLocked(n int) {
	if s.taken += n; s.taken < s.window/2 || s.done || s.cut {
		return
	}
	c, more := s.carrier, s.taken
	if grow := min(s.window, mostRoom-s.window, spareRoom-c.spared); grow > 0 && s.unread.len() == 0 {
		s.window += grow
		c.spared += grow
		more += grow
	}
	s.taken = 0
	s.given += more
	c.sendFirstLocked(wire.FrameWindow, s.number, wire.Window(more)...)
}

// Write implements net.Conn. It waits while the other side has no room for DATA.
func (s *Stream) Write(b []byte) (int, error) {
	c := s.carrier
	c.mu.Lock()
	defer c.mu.Unlock()
	written := 0
	for written < len(b) {
		h, err := wire.ParseFrameHeader(b[written:])
		if err != nil {
			return written, err
		}
		size := wire.FrameHeaderSize + h.Length
		if len(b)-written < size {
			return written, fmt.Errorf("%w: %v is not whole", ErrProtocol, h.Type)
		}
		frame := b[written : written+size]
		if h.Type == wire.FrameData {
			err = s.sendDataLocked(frame[wire.FrameHeaderSize:])
		} else if err = s.brokenLocked(); err == nil {
			s.sendOtherLocked(h.Type, frame)
		}
		if err != nil {
			return written, err
		}
		s.done = s.done || h.Type == wire.FrameDone
		written += size
	}
	return written, nil
}

// sendOtherLocked sends a frame that needs no room. START and ACK, which come
// before all others of their stream, do not wait for what other streams send.
func (s *Stream) sendOtherLocked(t wire.FrameType, frame []byte) {
	c := s.carrier
	s.room -= len(frame)
	if t == wire.FrameStart || t == wire.FrameAck {
		c.sendFirstLocked(t, s.number)
		return
	}
	c.out = append(c.out, frame...)
	c.sendLocked()
}

// deliver takes bytes of the stream in. A nil stream drops them.
func (s *Stream) deliver(b []byte) error {
	if s == nil {
		return nil
	}
	c := s.carrier
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.closed {
		return nil
	}
	if s.claim != nil {
		if c.unread += len(b); c.unread > maxUnclaimedBytes {
			return fmt.Errorf("%w: %d bytes of streams that were not announced", ErrProtocol, c.unread)
		}
	}
	s.unread.add(b)
	s.wakeLocked()
	return nil
}

// claimedLocked ends the time in which nobody had taken the stream.
func (s *Stream) claimedLocked() {
	if s.claim == nil {
		return
	}
	s.claim.Stop()
	s.claim = nil
	s.carrier.waiting--
	s.carrier.unread -= s.unread.len()
}

// unclaimed ends a stream that nobody came for.
func (s *Stream) unclaimed() {
	s.carrier.mu.Lock()
	waiting := s.claim != nil
	s.carrier.mu.Unlock()
	if waiting {
		s.Close()
	}
}

// Broken reports whether the other side, or the carrier, has ended the stream,
// which no call may have met yet.
func (s *Stream) Broken() bool {
	s.carrier.mu.Lock()
	defer s.carrier.mu.Unlock()
	return s.cut && !s.done || s.carrier.cause != nil
}

// Close leaves the stream. Before DONE that is its end for the other side too.
func (s *Stream) Close() error {
	c := s.carrier
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if !s.done && !s.cut && c.cause == nil {
		c.out = wire.AppendFrame(c.out, wire.FrameCut, s.number)
		c.sendLocked()
	}
	c.removeLocked(s)
	s.readLimit.stop()
	s.writeLimit.stop()
	s.wakeLocked()
	c.drained.Broadcast()
	return nil
}

// LocalAddr implements net.Conn: the carrier's.
func (s *Stream) LocalAddr() net.Addr { return s.carrier.conn.LocalAddr() }

// RemoteAddr implements net.Conn: the carrier's.
func (s *Stream) RemoteAddr() net.Addr { return s.carrier.conn.RemoteAddr() }

// SetDeadline implements net.Conn.
func (s *Stream) SetDeadline(t time.Time) error {
	s.SetReadDeadline(t)
	return s.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.limit(&s.readLimit, t) }

// SetWriteDeadline implements net.Conn.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.limit(&s.writeLimit, t) }

func (s *Stream) limit(d *deadline, t time.Time) error {
	c := s.carrier
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	d.set(t, s.hurry)
	if d.passed() {
		s.wakeLocked()
		c.drained.Broadcast()
	}
	return nil
}

// hurry wakes those who wait, since a deadline has passed.
func (s *Stream) hurry() {
	c := s.carrier
	c.mu.Lock()
	defer c.mu.Unlock()
	s.wakeLocked()
	c.drained.Broadcast()
}

// deadline is a point in time from which a direction fails.
type deadline struct {
	at    time.Time // zero: never
	timer *time.Timer
}

func (d *deadline) set(t time.Time, wake func()) {
	d.stop()
	d.at = t
	if wait := time.Until(t); t.IsZero() || wait <= 0 {
		return
	} else if d.timer == nil {
		d.timer = time.AfterFunc(wait, wake)
	} else {
		d.timer.Reset(wait)
	}
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }
