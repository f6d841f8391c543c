package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/tunnelpool/pool/internal/handoff"
	"github.com/tunnelpool/pool/internal/shape"
	"github.com/tunnelpool/pool/internal/wire"
)

// ErrNoAck: the client did not take the user over. The user was reset.
var ErrNoAck = errors.New("no acknowledgement from the client")

// Verdict is what becomes of an offering's connection.
type Verdict uint8

const (
	Keep  Verdict = iota // it can carry another stream
	Close                // it is spent
	Dead                 // the client says that nothing arrived on it: it, and what is as old, is dead
)

// Offering is one attempt to hand a user over: a warm connection, and a stream
// that was announced on it. The caller of Serve makes them.
type Offering struct {
	Conn    net.Conn
	Number  uint32
	AckWait time.Duration // when ACK is late, and the client is asked
	// OwedWait is how long ACK may take from when the client has said that it
	// committed. Then there is nothing to try but to wait, so it outlasts
	// whatever can delay a segment.
	OwedWait time.Duration
	// Ask sends cancel and waits for the answer, over control connections if
	// need be. False: nobody will answer any more, or ctx ended.
	Ask func(ctx context.Context) (handoff.Answer, bool)
	// Lost, where it is not nil, is closed when this client is lost and there are
	// others. A user who has said nothing is offered to them then, or OwedWait
	// after Ask was called, without the answer; who has waits for it.
	Lost <-chan struct{}
	// Limit bounds what the user sends and receives; nil: nothing does. It is that
	// of the first offering.
	Limit *shape.Limit
	// Meter counts what the user sends and receives, from ACK on and with what was
	// sent before it; nil: nothing does. FirstByte is told when the user has
	// received the first of it, never at the same time as a call of next; nil: nobody is.
	Meter     *Meter
	FirstByte func()
	// End takes the connection back. It is called once.
	End func(Verdict)
}

// Serve carries a user's stream on the server, on a connection of the first
// offering that the client takes, see package handoff. next makes an offering;
// it may wait, and its error ends the user. over is called once, when the client's
// DONE has arrived or something broke; user is closed by then. Serve may return
// earlier, when the stream is at rest. The end of ctx cuts the stream with a
// reset.
func Serve(ctx context.Context, user net.Conn, next func(context.Context) (*Offering, error), over func(Result)) {
	crashResets(user)
	o, err := next(ctx)
	if err != nil {
		resetClose(user)
		over(Result{Err: err})
		return
	}
	s := newStream(user)
	s.conn, s.number = o.Conn, o.Number
	s.hold(o.Limit)
	s.guard(ctx)
	f := newFrameReader(s.conn, s.number)
	f.to = s.bulkTo(user)
	h := &handover{stream: s, frames: f, next: next, current: o, over: over}
	s.begin()
	s.conn.SetReadDeadline(time.Now().Add(o.AckWait)) // before the writer, whose abort may set its own
	go s.copyOut()                                    // ends when user or conn does; finish waits for it
	if err := h.run(ctx); err != nil {
		h.finish(false, err)
		return
	}
	h.carry()
}

// carry is the stream after ACK, until it is over or at rest.
func (h *handover) carry() {
	keep, err := h.stream.readUser(h.frames)
	if err == errRest {
		h.stream.restReader(h.carry)
		return
	}
	h.finish(keep, err)
}

// finish ends the stream, and the connection's part in it.
func (h *handover) finish(keep bool, err error) {
	res := h.stream.finish(keep, err)
	res.Replays = h.replays
	h.frames.release()
	if h.current != nil {
		verdict := Close
		if res.Keep {
			verdict = Keep
		}
		h.current.End(verdict)
	}
	h.over(res)
}

// readUser is the server's reader after ACK: frames to the user, until DONE.
func (s *stream) readUser(f *frameReader) (keep bool, err error) {
	for {
		h, err := s.next(f)
		if err != nil {
			return false, err
		}
		if h.Type != wire.FrameDone {
			if _, err := s.frame(f, h); err != nil {
				return false, err
			}
			continue
		}
		b, err := f.one()
		if err != nil {
			return false, err
		}
		what, err := wire.ParseDone([]byte{b})
		switch {
		case err != nil:
			return false, fmt.Errorf("%w: %w", errProtocol, err)
		case !s.bothEnded():
			return false, fmt.Errorf("%w: DONE before both directions ended", errProtocol)
		case f.leftover():
			return false, fmt.Errorf("%w: bytes after DONE", errProtocol)
		}
		return what == wire.Keep, nil
	}
}
