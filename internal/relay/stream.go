package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tunnelpool/pool/internal/shape"
	"github.com/tunnelpool/pool/internal/wire"
)

// resetDrain bounds how long a side that aborted a stream waits for the other
// to end it too. It discards meanwhile; beyond it the connection is closed.
const resetDrain = 10 * time.Second

// Result tells how a stream went.
type Result struct {
	// Keep: both sides ended the stream in order, and the connection can carry
	// another. The caller puts it back; otherwise it closes it.
	Keep bool
	// Sent and Received are payload bytes on the pooled connection.
	Sent, Received int64
	// Replays is on how many more connections than one the user was offered.
	Replays int
	// Reset is why the stream was aborted, from either side; 0 if it was not.
	Reset wire.ResetReason
	// Err is what broke the connection or kept the stream from starting; nil
	// after a stream that ended in order or by RESET.
	Err error
}

// stream is what the writer and the reader of one side share.
type stream struct {
	end net.Conn // the user or the target; set before the goroutines start
	in  *source  // reads end; the writer's own

	// acked: the stream is on this connection for good. It is true from the
	// start on a client; on a server until then conn and number may change, and
	// what the user sent is kept. conn and number change only in replay, with
	// writing and mu held.
	acked   atomic.Bool
	writing sync.Mutex // held for writes on conn until acked
	number  uint32
	conn    net.Conn // the pooled connection

	preface []byte // goes out with the first payload; the reader's own

	sent, received atomic.Int64
	meter          *Meter // counts the same, for all streams that have it; set before acked is
	first          func() // told of the first payload that the endpoint has taken; nil: nobody is. The reader's own
	writerDone     chan struct{}

	ctx  context.Context // its end cuts the stream
	stop func() bool     // no longer

	// mu orders the ends of both directions. A RESET is written with it held; a
	// FIN is not, and endingOut makes a RESET wait for it.
	mu        sync.Mutex
	changed   sync.Cond        // on mu: acked, or the stream broke
	kept      kept             // what would be sent again
	aborted   bool             // the endpoint failed: our direction ends with RESET
	reason    wire.ResetReason // of the first abort, ours or the peer's
	sentEnd   wire.FrameType   // 0, FIN or RESET
	endingOut bool             // FIN is being written outside mu; a RESET is the writer's to send
	gotEnd    wire.FrameType   // 0, FIN or RESET
	writeErr  error            // the connection broke under a write
	kick      bool             // a reader that waits past gotEnd is woken by the writer's end
	owesFin   bool             // our FIN goes out in one write with DONE
	over      bool             // nobody looks out any more
	look      *time.Timer      // the next look
	moved     int64            // bytes, as of the last look
	atRest    bool             // no byte since it was put to rest
	awaits    bool             // the reader waits for a frame
	woken     bool             // by a deadline, to rest

	limit  *shape.Limit       // of what passes the endpoint; nil: none, and so are the two below
	halted context.Context    // ends when nothing is to be moved any more
	halt   context.CancelFunc // ends halted

	readerRests, writerRests func() bool // end their rest, unless it has ended; nil: they run
	read                     func()      // the resting reader's way on
	endGone                  bool        // the endpoint was closed with a reset
}

func newStream(end net.Conn) *stream {
	s := &stream{end: end, writerDone: make(chan struct{})}
	if end != nil {
		s.in = newSource(end)
	}
	s.changed.L = &s.mu
	return s
}

// begin sends START, on a server, together with what the user has said already.
func (s *stream) begin() {
	const head = 2 * wire.FrameHeaderSize
	s.mu.Lock()
	room := s.roomLocked(wire.MaxData)
	s.mu.Unlock()
	n := 0
	if room > 0 {
		n = s.in.ready(head, s.piece(room))
	}
	var err error
	if n == 0 {
		err = writeFrame(s.conn, wire.FrameStart, s.number)
	} else {
		s.spend(n)
		b := s.in.buf[:head+n]
		s.keep(b[head:])
		wire.PutFrameHeader(b, wire.FrameHeader{Type: wire.FrameStart, Stream: s.number})
		wire.PutFrameHeader(b[wire.FrameHeaderSize:], wire.FrameHeader{Type: wire.FrameData, Length: n, Stream: s.number})
		_, err = s.conn.Write(b)
	}
	if err != nil {
		s.conn.Close() // found by the first read
	}
}

// copyOut is the writer: endpoint to frames, one write per frame, the header
// in front of the payload in the same buffer.
func (s *stream) copyOut() {
	if s.copyUntilRest() {
		s.restWriter()
		return
	}
	close(s.writerDone)
}

// copyUntilRest reports whether the writer is to rest; otherwise our direction
// is over.
func (s *stream) copyUntilRest() bool {
	in := s.in
	defer in.release()
	for {
		room := wire.MaxData
		if !s.acked.Load() {
			if room = s.awaitRoom(room); room == 0 {
				continue // acked meanwhile, or broken: then the read fails
			}
		} else if in.bulk {
			room = sendRoom(s.conn)
		}
		n, err := in.read(wire.FrameHeaderSize, s.piece(room))
		if n > 0 && !s.await(n) {
			continue // the endpoint is closed, and the next read tells
		}
		if n > 0 && !s.write(in.buf[:wire.FrameHeaderSize+n]) {
			return false
		}
		switch {
		case err == nil:
		case s.wokenToRest(err):
			return true
		case err == io.EOF:
			s.endOut(wire.FrameFin, 0)
			return false
		default:
			s.endOut(wire.FrameReset, wire.ResetAborted)
			return false
		}
	}
}

// write sends a DATA frame whose payload stands behind the room for its
// header. False: the connection broke, and the stream with it.
func (s *stream) write(frame []byte) bool {
	payload := frame[wire.FrameHeaderSize:]
	if s.acked.Load() {
		s.countSent(len(payload))
	} else {
		s.writing.Lock()
		defer s.writing.Unlock()
		s.keep(payload)
	}
	wire.PutFrameHeader(frame, wire.FrameHeader{Type: wire.FrameData, Length: len(payload), Stream: s.number})
	_, err := s.conn.Write(frame)
	if err == nil {
		return true
	}
	if !s.acked.Load() {
		s.conn.Close() // the reader notices, and the hand-off decides
		return true
	}
	s.connBroke(err)
	return false
}

// endOut ends our direction, once. A FIN becomes a RESET when the endpoint
// failed meanwhile.
func (s *stream) endOut(t wire.FrameType, why wire.ResetReason) {
	if !s.acked.Load() {
		s.writing.Lock()
		defer s.writing.Unlock()
		if t == wire.FrameFin {
			s.endKept()
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aborted {
		t = wire.FrameReset
	}
	switch {
	case t == wire.FrameReset:
		s.aborted = true
		s.haltLocked()
		s.sendResetLocked(why)
	case s.kick && s.gotEnd == wire.FrameFin:
		s.owesFin = true // it goes out with DONE, which the reader writes next
	case !s.writeFinLocked():
		return
	}
	if s.sentEnd == 0 {
		s.sentEnd = t
	}
	if s.kick && s.gotEnd != 0 {
		s.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// writeFinLocked writes FIN, without the lock: behind a reader that pauses it may
// take as long as that likes. The direction counts as ended before, because the
// peer's DONE may be read before the writer gets to say so; an abort meanwhile
// leaves its RESET to the writer. False: the stream is over.
func (s *stream) writeFinLocked() bool {
	s.sentEnd, s.endingOut = wire.FrameFin, true
	conn, number := s.conn, s.number
	s.mu.Unlock()
	err := writeFrame(conn, wire.FrameFin, number)
	s.mu.Lock()
	s.endingOut = false
	switch {
	case err != nil && s.acked.Load():
		s.brokeLocked(err)
	case err != nil:
		conn.Close() // the reader notices, and the hand-off decides
	case s.aborted && s.writeErr == nil:
		s.sendResetLocked(wire.ResetAborted)
	}
	return err == nil
}

// sendResetLocked writes RESET and gives the peer a bounded time to end.
func (s *stream) sendResetLocked(why wire.ResetReason) {
	s.noteResetLocked(why)
	s.sentEnd = wire.FrameReset
	s.boundLocked()
	if err := writeFrame(s.conn, wire.FrameReset, s.number, byte(s.reason)); err != nil {
		s.brokeLocked(err)
	}
}

// boundLocked gives an aborted stream its last time on the connection, for
// both sides and both directions. Until ACK reads have the hand-off's deadline,
// which is sooner: that the user left makes a dead connection no less dead.
func (s *stream) boundLocked() {
	last := time.Now().Add(resetDrain)
	if s.acked.Load() {
		s.conn.SetDeadline(last)
	} else {
		s.conn.SetWriteDeadline(last)
	}
	s.rouseReaderLocked()
}

func (s *stream) noteResetLocked(why wire.ResetReason) {
	if s.reason == 0 {
		s.reason = why
	}
}

// abort is the reader's: the endpoint no longer takes what the peer sends. The
// writer, which the reset wakes, ends our direction with RESET; if it ended
// with FIN already, the RESET is ours to send. A writer that a peer holds up is
// woken by the deadline.
func (s *stream) abort(why wire.ResetReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abortLocked(why)
	s.resetEndLocked()
}

func (s *stream) abortLocked(why wire.ResetReason) {
	if s.aborted {
		return
	}
	s.aborted = true
	s.haltLocked()
	s.noteResetLocked(why)
	s.boundLocked()
	if s.sentEnd == wire.FrameFin && !s.endingOut && !s.owesFin {
		s.sendResetLocked(why)
	}
}

// connBroke ends the stream because the pooled connection did.
func (s *stream) connBroke(err error) {
	s.mu.Lock()
	s.brokeLocked(err)
	s.mu.Unlock()
}

func (s *stream) brokeLocked(err error) {
	if s.writeErr == nil {
		s.writeErr = err
	}
	s.aborted = true
	s.haltLocked()
	if s.conn != nil {
		cut(s.conn)
	}
	s.rouseReaderLocked()
	s.resetEndLocked()
	s.changed.Broadcast()
}

// receivedEnd ends the peer's direction. over reports that ours has ended too.
func (s *stream) receivedEnd(t wire.FrameType, why wire.ResetReason) (over bool) {
	s.mu.Lock()
	s.gotEnd = t
	if t == wire.FrameReset {
		s.aborted = true
		s.haltLocked()
		s.noteResetLocked(why)
		s.boundLocked()
		s.resetEndLocked()
	}
	over = s.sentEnd != 0
	whole := s.sentEnd == wire.FrameFin && !s.aborted // the endpoint has ended, and the writer with it
	s.mu.Unlock()
	switch {
	case t == wire.FrameReset:
	case whole:
		closeInOrder(s.end)
	default:
		closeWrite(s.end)
	}
	return over
}

// deliver takes a DATA frame to the endpoint, or throws it away after an
// abort.
func (s *stream) deliver(f *frameReader, n int) error {
	s.received.Add(int64(n))
	if s.meter != nil {
		s.meter.Received.Add(int64(n))
	}
	failed := false
	return f.payload(n, func(b []byte) error {
		if failed {
			return nil
		}
		if s.preface != nil {
			b, s.preface = slices.Concat(s.preface, b), nil
		}
		if err := s.toEndpoint(b); err != nil {
			failed = true
			s.abort(wire.ResetAborted)
		} else if s.first != nil {
			s.first()
			s.first = nil
		}
		return nil
	})
}

// frame handles what both sides receive alike: DATA, FIN and RESET. over
// reports that both directions have ended.
func (s *stream) frame(f *frameReader, h wire.FrameHeader) (over bool, err error) {
	switch ended := s.peerEnd(); {
	case h.Type == wire.FrameData && ended == 0:
		return false, s.deliver(f, h.Length)
	case h.Type == wire.FrameFin && ended == 0:
		return s.receivedEnd(wire.FrameFin, 0), nil
	case h.Type == wire.FrameReset && ended != wire.FrameReset:
		b, err := f.one()
		if err != nil {
			return false, err
		}
		why, err := wire.ParseReset([]byte{b})
		if err != nil {
			return false, fmt.Errorf("%w: %w", errProtocol, err)
		}
		return s.receivedEnd(wire.FrameReset, why), nil
	}
	return false, fmt.Errorf("%w: %v where it cannot be", errProtocol, h.Type)
}

func (s *stream) peerEnd() wire.FrameType {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gotEnd
}

func (s *stream) bothEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sentEnd != 0 && s.gotEnd != 0
}

// finish waits for the writer and sums up. err is what the reader met.
func (s *stream) finish(keep bool, err error) Result {
	if err != nil {
		s.connBroke(err)
	}
	<-s.writerDone
	s.mu.Lock()
	defer s.mu.Unlock()
	s.haltLocked()
	s.stopLookingLocked() // the connection may be another stream's from now on
	s.stop()
	if s.writeErr != nil {
		keep = false
	}
	if keep {
		s.conn.SetDeadline(time.Time{}) // an abort's would cut the next stream
	}
	s.kept.release()
	closeInOrder(s.end)
	return Result{Keep: keep, Sent: s.sent.Load(), Received: s.received.Load(), Reset: s.reason, Err: s.writeErr}
}

// guard cuts the stream when ctx ends: it closes both ends, with a reset for the
// endpoint. And it looks out for resets that no read would meet. finish ends both.
func (s *stream) guard(ctx context.Context) {
	s.ctx = ctx
	s.stop = context.AfterFunc(ctx, func() { s.connBroke(context.Cause(ctx)) })
	s.lookOut()
}

// isTimeout reports an expired deadline.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
