package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/tunnelpool/pool/internal/handoff"
	"github.com/tunnelpool/pool/internal/wire"
)

// handover drives handoff.Offer for one user: it reads for ACK, asks when that
// is late, and offers the copy on another connection when that is safe.
type handover struct {
	stream  *stream
	frames  *frameReader
	next    func(context.Context) (*Offering, error)
	current *Offering // nil once it was ended
	over    func(Result)
	offer   handoff.Offer
	replays int
	cause   error // why the last read for ACK brought none
}

// run returns nil when the client has taken the user over.
func (h *handover) run(ctx context.Context) error {
	for {
		e := h.readAck(h.current.AckWait)
		act := h.on(e)
		if act == handoff.Ask {
			act = h.ask(ctx, e == handoff.Died)
		}
		if act == handoff.Wait { // the answer was committed: ACK is owed
			wait := h.current.OwedWait
			h.stream.conn.SetReadDeadline(time.Now().Add(wait))
			act = h.on(h.readAck(wait))
		}
		switch act {
		case handoff.Proceed:
			return nil
		case handoff.Replay:
			if err := h.replay(ctx); err != nil {
				return err
			}
		default:
			if ctx.Err() != nil { // nobody was asked to the end
				return context.Cause(ctx)
			}
			return fmt.Errorf("%w for stream %d: %w", ErrNoAck, h.stream.number, h.cause)
		}
	}
}

// on takes an event to the machine. A user who left is not offered again.
func (h *handover) on(e handoff.Event) handoff.Action {
	act := h.offer.On(e, false) // only Abandoned asks for the copy, see ask
	if act == handoff.Proceed {
		running(h.stream.conn)
		h.stream.settle(h.current)
		h.clearDeadline()
	}
	return act
}

// sealEmpty reports whether the user has sent nothing, and then closes the
// connection before anything can: what is offered again was sent nowhere. A
// writer that is in a write has filled the copy already, so that nobody waits
// for one that hangs.
func (h *handover) sealEmpty() bool {
	s := h.stream
	empty := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.kept.empty()
	}
	if !empty() {
		return false
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if !empty() {
		return false
	}
	s.conn.Close()
	return true
}

// clearDeadline ends the wait for ACK. An aborted stream has its own limit,
// which that wait, or an end to it, has overwritten.
func (h *handover) clearDeadline() {
	s := h.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aborted {
		s.boundLocked()
		return
	}
	s.conn.SetReadDeadline(time.Time{})
}

// readAck reads until ACK, the deadline, or the connection's end. The deadline
// is set, and lies wait ahead of where the waiting began.
func (h *handover) readAck(wait time.Duration) handoff.Event {
	head, err := h.frames.next()
	switch {
	case err == nil && head.Type == wire.FrameAck:
		return handoff.Acked
	case isTimeout(err):
		h.cause = fmt.Errorf("nothing within %v", wait)
		return handoff.Expired
	case err == nil:
		err = fmt.Errorf("%w: %v before ACK", errProtocol, head.Type)
	}
	h.cause = err
	h.stream.conn.Close()
	return handoff.Died
}

// ask asks the client, and reads on meanwhile if the connection lives: a late
// ACK settles it too.
func (h *handover) ask(ctx context.Context, died bool) handoff.Action {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type reply struct {
		answer handoff.Answer
		ok     bool
	}
	replies := make(chan reply, 1)
	conn, ask := h.stream.conn, h.current.Ask
	if !died {
		conn.SetReadDeadline(time.Time{})
	}
	go func() { // ends with the answer or ctx
		a, ok := ask(ctx)
		replies <- reply{a, ok}
		h.wake(conn)
	}()
	elsewhere := h.elsewhere(ctx, conn)
	var r reply
	for answered := false; !answered; {
		if !died {
			if e := h.readAck(h.current.AckWait); e != handoff.Expired { // Expired: woken
				if act := h.on(e); act == handoff.Proceed {
					return act
				}
				died = true
			}
		}
		select {
		case r = <-replies:
			answered = true
		case <-elsewhere:
			elsewhere = nil
			conn.SetReadDeadline(time.Time{})
			select {
			case r = <-replies: // whose call to wake may have come before
				answered = true
			default:
				if h.sealEmpty() {
					return h.offer.On(handoff.Abandoned, true)
				}
			}
		}
	}
	switch {
	case !r.ok:
		return h.offer.On(handoff.Abandoned, h.sealEmpty())
	case r.answer == handoff.Unknown:
		return h.offer.Answered(r.answer, h.sealEmpty())
	}
	act := h.offer.Answered(r.answer, false)
	if act == handoff.Replay && r.answer == handoff.Refused {
		h.end(Dead)
	}
	return act
}

// elsewhere is closed when others may have the user whatever becomes of the
// question; nil if there are none.
func (h *handover) elsewhere(ctx context.Context, conn net.Conn) <-chan struct{} {
	lost, wait := h.current.Lost, h.current.OwedWait
	if lost == nil {
		return nil
	}
	closing := make(chan struct{})
	go func() { // ends with ctx
		limit := time.NewTimer(wait)
		defer limit.Stop()
		select {
		case <-lost:
		case <-limit.C:
		case <-ctx.Done():
			return
		}
		close(closing)
		h.wake(conn)
	}()
	return closing
}

// wake ends a read for ACK, unless the stream went on without the answer.
func (h *handover) wake(conn net.Conn) {
	s := h.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.acked.Load() {
		conn.SetReadDeadline(time.Unix(1, 0))
	}
}

func (h *handover) end(v Verdict) {
	if h.current != nil {
		h.current.End(v)
		h.current = nil
	}
}

// replay offers the copy on another connection.
func (h *handover) replay(ctx context.Context) error {
	s := h.stream
	s.conn.Close() // ends a write that is under way
	h.end(Close)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if s.left() {
		return errLeft
	}
	o, err := h.next(ctx)
	if err != nil {
		return fmt.Errorf("%w; before that: %w", err, h.cause)
	}
	h.current = o
	h.replays++
	h.frames.reset(o.Conn, o.Number)

	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	again := s.kept
	s.conn, s.number = o.Conn, o.Number
	broken := s.writeErr
	s.mu.Unlock()
	if broken != nil {
		return broken // ctx ended meanwhile
	}
	o.Conn.SetWriteDeadline(time.Now().Add(resetDrain)) // a slow path gets the copy through
	if err := sendAgain(o, again); err != nil {
		o.Conn.Close() // the next read finds it dead
	}
	o.Conn.SetWriteDeadline(time.Time{})
	o.Conn.SetReadDeadline(time.Now().Add(o.AckWait))
	return nil
}

var errLeft = errors.New("the user left before the client took it over")

// left reports whether the user is gone, so that nothing needs to be offered.
func (s *stream) left() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.aborted
}

// sendAgain writes START and the copy.
func sendAgain(o *Offering, k kept) error {
	b := wire.AppendFrame(nil, wire.FrameStart, o.Number)
	if len(k.bytes) > 0 {
		b = wire.AppendFrame(b, wire.FrameData, o.Number, k.bytes...)
	}
	if k.fin {
		b = wire.AppendFrame(b, wire.FrameFin, o.Number)
	}
	_, err := o.Conn.Write(b)
	return err
}
