package carrier

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/tunnelpool/pool/internal/wire"
)

const readSize = 32 << 10

// read passes frames on until the connection ends. It never waits for a stream:
// each has room for what it may be sent.
func (c *Carrier) read() error {
	r := bufio.NewReaderSize(&hearing{c}, readSize)
	for {
		head, err := r.Peek(wire.FrameHeaderSize)
		if err != nil {
			return readError(err)
		}
		h, err := wire.ParseFrameHeader(head)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		switch h.Type {
		case wire.FrameWindow:
			err = c.readWindow(r, h)
		case wire.FrameCut:
			r.Discard(wire.FrameHeaderSize)
			c.wasCut(h.Stream)
		case wire.FrameProbe:
			r.Discard(wire.FrameHeaderSize)
			c.wasProbed(h.Stream)
		default:
			err = c.readFrame(r, h)
		}
		if err != nil {
			return readError(err)
		}
	}
}

func readError(err error) error {
	switch {
	case errors.Is(err, ErrProtocol):
		return err
	case isTimeout(err):
		return ErrSilent
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: closed by the other side", ErrEnded)
	}
	return fmt.Errorf("%w: %w", ErrEnded, err)
}

// hearing reads the connection and notes whether something came. Silence is the
// end of a carrier without streams. One with streams goes on, as a stream on a
// connection of its own would: the path may be back.
type hearing struct{ c *Carrier }

func (h *hearing) Read(b []byte) (int, error) {
	c := h.c
	for {
		c.conn.SetReadDeadline(time.Now().Add(missedBeats * c.beat))
		n, err := c.conn.Read(b)
		switch {
		case n > 0:
			c.hears()
		case isTimeout(err) && c.staysSilent():
			continue
		}
		return n, err
	}
}

// hears ends a doubt.
func (c *Carrier) hears() {
	c.mu.Lock()
	doubted := c.doubted
	c.doubted = false
	c.mu.Unlock()
	if doubted {
		c.usable()
	}
}

// staysSilent reports whether a carrier on which nothing comes goes on.
func (c *Carrier) staysSilent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doubted = true
	return len(c.streams) > 0
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func (c *Carrier) readWindow(r *bufio.Reader, h wire.FrameHeader) error {
	whole, err := r.Peek(wire.FrameHeaderSize + h.Length)
	if err != nil {
		return err
	}
	more, err := wire.ParseWindow(whole[wire.FrameHeaderSize:])
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	r.Discard(len(whole))
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[h.Stream]; s != nil {
		if s.room += more; s.room > wire.MaxWindow {
			return fmt.Errorf("%w: room for %d bytes", ErrProtocol, s.room)
		}
		s.wakeLocked()
	}
	return nil
}

// wasCut: the other side has left the stream.
func (c *Carrier) wasCut(number uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[number]; s != nil {
		s.cut = true
		s.wakeLocked()
		c.drained.Broadcast()
	}
}

// wasProbed answers on the client. On the server it is the answer, and that
// something came is all it has to say.
func (c *Carrier) wasProbed(number uint32) {
	if !c.client {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sendFirstLocked(wire.FrameProbe, number)
}

// readFrame passes one frame on to its stream, in pieces as they come, or drops
// it.
func (c *Carrier) readFrame(r *bufio.Reader, h wire.FrameHeader) error {
	s, err := c.receiver(h)
	if err != nil {
		return err
	}
	for left := wire.FrameHeaderSize + h.Length; left > 0; {
		if _, err := r.Peek(1); err != nil {
			return err
		}
		piece, _ := r.Peek(min(left, r.Buffered()))
		if err := s.deliver(piece); err != nil {
			return err
		}
		left -= len(piece)
		r.Discard(len(piece))
	}
	return nil
}

// receiver finds the stream that a frame is for: nil if it is to be dropped. A
// START on the client may be the first that is heard of a stream.
func (c *Carrier) receiver(h wire.FrameHeader) (*Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[h.Stream]
	if h.Type == wire.FrameStart && c.client {
		switch {
		case s == nil && c.finished:
			return nil, nil
		case s == nil:
			if c.waiting >= maxUnclaimed {
				return nil, fmt.Errorf("%w: more than %d streams that were not announced", ErrProtocol, maxUnclaimed)
			}
			s = c.addLocked(h.Stream)
			c.waiting++
			s.claim = time.AfterFunc(claimTime, s.unclaimed)
		case s.started:
			return nil, fmt.Errorf("%w: a second START of stream %d", ErrProtocol, h.Stream)
		}
		s.started = true
	}
	if s == nil {
		return nil, nil
	}
	s.done = s.done || h.Type == wire.FrameDone
	s.given -= wire.FrameHeaderSize + h.Length
	if s.given < -slack || s.given < 0 && h.Type == wire.FrameData {
		return nil, fmt.Errorf("%w: %v of stream %d without room for it", ErrProtocol, h.Type, h.Stream)
	}
	return s, nil
}
