package relay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/tunnelpool/pool/internal/wire"
)

// bufferSize is what one direction of a stream borrows: a frame's header and
// its payload, a power of two so that the allocator wastes nothing.
const bufferSize = 32 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// errProtocol: the peer broke the protocol; its connection cannot be trusted.
var errProtocol = errors.New("protocol error")

// frameReader reads the frames of one stream from a pooled connection, and
// their payload through a borrowed buffer.
type frameReader struct {
	conn   net.Conn
	stream uint32
	buf    []byte
	r, w   int // buf[r:w] is unread
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

// fill makes at least n unread bytes available; n fits the buffer. End of file
// is always io.ErrUnexpectedEOF: a connection never ends in order inside a
// stream.
func (f *frameReader) fill(n int) error {
	if f.r == f.w {
		f.r, f.w = 0, 0
	} else if len(f.buf)-f.r < n {
		f.w = copy(f.buf, f.buf[f.r:f.w])
		f.r = 0
	}
	for f.w-f.r < n {
		m, err := f.conn.Read(f.buf[f.w:])
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

// payload passes the next n bytes to take, in pieces, as they arrive. An error
// of take stops nothing: the rest is read and thrown away, and that error is
// take's to remember.
func (f *frameReader) payload(n int, take func([]byte) error) error {
	for n > 0 {
		if err := f.fill(1); err != nil {
			return err
		}
		piece := f.buf[f.r:min(f.w, f.r+n)]
		f.r += len(piece)
		n -= len(piece)
		_ = take(piece)
	}
	return nil
}

// one returns the single payload byte of a RESET or DONE frame.
func (f *frameReader) one() (byte, error) {
	if err := f.fill(1); err != nil {
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
