package relay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/tunnelpool/pool/internal/wire"
)

// errProtocol: the peer broke the protocol; its connection cannot be trusted.
var errProtocol = errors.New("protocol error")

// frameReader reads the frames of one stream from a pooled connection. What is
// small passes through a buffer of its own; payload that does not fit there,
// and whatever a socket has to say at once, through a borrowed one.
type frameReader struct {
	in     *source
	stream uint32
	to     net.Conn // where the payload goes; nil: not known yet
	small  [3 * wire.FrameHeaderSize]byte
	buf    []byte // small, or what in has borrowed
	r, w   int    // buf[r:w] is unread
}

func newFrameReader(conn net.Conn, stream uint32) *frameReader {
	f := &frameReader{}
	f.reset(conn, stream)
	return f
}

// reset starts anew on another connection.
func (f *frameReader) reset(conn net.Conn, stream uint32) {
	f.release()
	f.in, f.stream = newSource(conn), stream
}

// release gives the borrowed buffer back; what is unread in it is lost.
func (f *frameReader) release() {
	if f.in != nil {
		f.in.release()
	}
	f.buf, f.r, f.w = f.small[:], 0, 0
}

// next returns the header of this stream's next frame. Frames of older streams
// are skipped: they are an abort that crossed our DONE. Any other number is a
// protocol error.
func (f *frameReader) next() (wire.FrameHeader, error) {
	for {
		if err := f.fill(wire.FrameHeaderSize); err != nil {
			return wire.FrameHeader{}, err
		}
		h, err := wire.ParseFrameHeader(f.buf[f.r:f.w])
		if err != nil {
			return h, fmt.Errorf("%w: %w", errProtocol, err)
		}
		f.r += wire.FrameHeaderSize
		switch {
		case h.Stream == f.stream:
			return h, nil
		case h.Stream > f.stream:
			return h, fmt.Errorf("%w: %v of stream %d during stream %d", errProtocol, h.Type, h.Stream, f.stream)
		}
		if err := f.payload(h.Length, func([]byte) error { return nil }); err != nil {
			return h, err
		}
	}
}

// fill makes at least n unread bytes available; n fits the small buffer. End of
// file is always io.ErrUnexpectedEOF: a connection never ends in order inside a
// stream.
func (f *frameReader) fill(n int) error {
	if f.r == f.w && f.in.raw == nil {
		f.release() // whatever comes next may be a long time off
	} else if f.r == f.w || len(f.buf)-f.r < n {
		f.w = copy(f.buf, f.buf[f.r:f.w])
		f.r = 0
	}
	for f.w-f.r < n {
		m, err := f.read(n - (f.w - f.r))
		f.w += m
		if f.w-f.r >= n {
			return nil
		}
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// read adds to the buffer. A plain socket is waited for without one. Elsewhere
// the small buffer takes no more than is needed, so that payload comes whole
// into one that it fits.
func (f *frameReader) read(need int) (int, error) {
	switch {
	case f.in.raw != nil && f.w == 0:
		n, err := f.in.read(0, f.room())
		if f.buf = f.small[:]; f.in.loan != nil {
			f.buf = f.in.buf
		}
		return n, err
	case f.in.loan == nil:
		return f.in.conn.Read(f.buf[f.w:min(len(f.buf), f.w+need)])
	}
	room := f.room()
	if f.w == 0 {
		f.in.borrow(f.in.wantsLarge(room))
		f.buf = f.in.buf
	}
	return f.in.conn.Read(f.buf[f.w:min(len(f.buf), f.w+room)])
}

// room is how much may be read at once.
func (f *frameReader) room() int {
	if !f.in.bulk || f.to == nil {
		return smallBuffer
	}
	return sendRoom(f.to)
}

// widen makes room for n bytes of payload, or for much of them.
func (f *frameReader) widen(n int) {
	if f.in.loan != nil {
		return
	}
	begun := f.buf[f.r:f.w] // in small
	f.in.bulk = n > smallBuffer
	f.in.borrow(f.in.wantsLarge(f.room()))
	f.w = copy(f.in.buf, begun)
	f.buf, f.r = f.in.buf, 0
}

// payload passes the next n bytes to take, in pieces, as they arrive. An error
// of take stops nothing: the rest is read and thrown away, and that error is
// take's to remember.
func (f *frameReader) payload(n int, take func([]byte) error) error {
	if n > len(f.buf)-f.r {
		f.widen(n)
	}
	for n > 0 {
		if err := f.more(n); err != nil {
			return err
		}
		piece := f.buf[f.r:min(f.w, f.r+n)]
		f.r += len(piece)
		n -= len(piece)
		_ = take(piece)
	}
	return nil
}

// more makes at least one of the n bytes of payload available that are due.
func (f *frameReader) more(n int) error {
	if f.r < f.w {
		return nil
	}
	f.r, f.w = 0, 0
	m, err := f.read(n)
	f.w = m
	switch {
	case m > 0:
		return nil
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

// dataHere reports, without waiting, whether the next frame has begun to come and
// is DATA of this stream. Under TLS, and on a carrier, that may be read already and
// known to the layer below only.
func (f *frameReader) dataHere() bool {
	if f.w-f.r < wire.FrameHeaderSize {
		f.in.conn.SetReadDeadline(time.Unix(1, 0))
		err := f.fill(wire.FrameHeaderSize)
		f.in.conn.SetReadDeadline(time.Time{})
		if err != nil {
			return false // the next read meets it too, if it is not the deadline
		}
	}
	h, err := wire.ParseFrameHeader(f.buf[f.r:f.w])
	return err == nil && h.Stream == f.stream && h.Type == wire.FrameData
}

// one returns the single payload byte of a RESET or DONE frame.
func (f *frameReader) one() (byte, error) {
	if err := f.more(1); err != nil {
		return 0, err
	}
	f.r++
	return f.buf[f.r-1], nil
}

// leftover reports whether bytes were read that belong to no finished frame.
func (f *frameReader) leftover() bool { return f.r != f.w }

func writeFrame(conn net.Conn, t wire.FrameType, stream uint32, payload ...byte) error {
	var scratch [wire.FrameHeaderSize + 1]byte
	_, err := conn.Write(wire.AppendFrame(scratch[:0], t, stream, payload...))
	return err
}
