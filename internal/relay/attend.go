package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/tunnelpool/pool/internal/shape"
	"github.com/tunnelpool/pool/internal/wire"
)

// Task is what a client needs to attend a stream.
type Task struct {
	Number uint32
	// StartWait bounds the wait for START on the connection.
	StartWait time.Duration
	// Commit makes the stream this client's, atomically against a cancel. False:
	// a cancel came first.
	Commit func() bool
	// Dial connects to the target, once. On failure the reason goes to the
	// user as a reset; the connection survives.
	Dial func(ctx context.Context) (net.Conn, wire.ResetReason)
	// Preface is what the target gets in front of the user's first byte, at once
	// and in one write with that byte if it is there. At most a few hundred bytes.
	Preface []byte
	// Limit bounds what the target sends and receives; nil: nothing does.
	Limit *shape.Limit
	// Meter counts what the target sends and receives; nil: nothing does.
	Meter *Meter
	// Reserve keeps the connection's place in the pool before the server is
	// told that it may be used again. False: it is closed instead.
	Reserve func() bool
}

// Attend carries a stream on the client: it waits for START, commits with ACK,
// dials the target and relays until both directions have ended, then writes
// DONE. over is called once, at the end; the target's connection is closed by
// then, conn stays the caller's. Attend may return earlier, when the stream is at
// rest. The end of ctx cuts the stream with a reset.
func Attend(ctx context.Context, conn net.Conn, t Task, over func(Result)) {
	f := newFrameReader(conn, t.Number)
	if err := commit(ctx, conn, f, t); err != nil {
		f.release()
		over(Result{Err: err})
		return
	}
	s := newStream(nil)
	s.number, s.conn, s.kick, s.meter = t.Number, conn, true, t.Meter
	s.acked.Store(true)
	s.hold(t.Limit)
	target, refused := t.Dial(ctx)
	if refused != 0 {
		s.end = nowhere{}
		close(s.writerDone)
		s.endOut(wire.FrameReset, refused)
	} else {
		crashResets(target)
		if len(t.Preface) > 0 && f.dataHere() {
			s.preface = t.Preface
		}
		s.end, s.in, f.to = target, newSource(target), s.bulkTo(target)
		go s.copyOut() // ends when target or conn does; finish waits for it
	}
	s.guard(ctx)
	if refused == 0 && len(t.Preface) > 0 && s.preface == nil {
		if _, err := target.Write(t.Preface); err != nil { // it has just accepted, and has room for that
			s.abort(wire.ResetAborted)
		}
	}
	s.attend(f, t.Reserve, over)
}

// attend is the stream after the dial, until it is over or at rest.
func (s *stream) attend(f *frameReader, reserve func() bool, over func(Result)) {
	err := s.readTarget(f)
	if err == errRest {
		s.restReader(func() { s.attend(f, reserve, over) })
		return
	}
	over(s.conclude(f, reserve, err))
}

// conclude ends the stream. err is what its reader met.
func (s *stream) conclude(f *frameReader, reserve func() bool, err error) Result {
	defer f.release()
	if err != nil {
		return s.finish(false, err)
	}
	<-s.writerDone
	keep := reserve() && !f.leftover() && s.ctx.Err() == nil
	return s.finish(keep, s.writeDone(keep))
}

var errCanceled = errors.New("canceled by the server")

// commit waits for START and answers it. After ACK the stream is this
// client's, and will not be carried by any other connection.
func commit(ctx context.Context, conn net.Conn, f *frameReader, t Task) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	conn.SetDeadline(time.Now().Add(t.StartWait))
	h, err := f.next()
	if err == nil && h.Type != wire.FrameStart {
		err = fmt.Errorf("%w: %v before START", errProtocol, h.Type)
	}
	if err == nil && !t.Commit() {
		err = errCanceled
	}
	if err == nil {
		err = writeFrame(conn, wire.FrameAck, f.stream)
	}
	if err != nil {
		return fmt.Errorf("stream %d did not start: %w", f.stream, err)
	}
	conn.SetDeadline(time.Time{})
	running(conn)
	return nil
}

// running tells a pooled connection that both ends are there: from now on a
// slow reader may hold the stream up for as long as it likes.
func running(conn net.Conn) {
	if c, ok := conn.(interface{ MarkRunning() }); ok {
		c.MarkRunning()
	}
}

// readTarget is the client's reader: frames to the target, until both
// directions have ended. Between the peer's end and our own it reads on,
// because the peer may still abort; the writer's end wakes it from that.
func (s *stream) readTarget(f *frameReader) error {
	for {
		h, err := s.next(f)
		if err != nil {
			if isTimeout(err) && s.bothEnded() {
				return nil
			}
			return err
		}
		over, err := s.frame(f, h)
		if err != nil || over {
			return err
		}
	}
}

// writeDone hands the connection back to the server. Nothing is written on it
// after this until the next START.
func (s *stream) writeDone(keep bool) error {
	s.mu.Lock()
	if s.aborted {
		s.boundLocked()
	} else { // what the target said last may wait for a reader that pauses
		s.conn.SetDeadline(time.Time{})
	}
	s.mu.Unlock()
	what := wire.Close
	if keep {
		what = wire.Keep
	}
	var scratch [2*wire.FrameHeaderSize + 1]byte
	b := scratch[:0]
	if s.owesFin { // nobody writes it any more: both directions have ended
		b = wire.AppendFrame(b, wire.FrameFin, s.number)
	}
	_, err := s.conn.Write(wire.AppendFrame(b, wire.FrameDone, s.number, byte(what)))
	return err
}

// nowhere stands for a target that was not reached: what is sent to it is
// thrown away.
type nowhere struct{ net.Conn }

func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) Close() error                { return nil }
