package wire

import (
	"encoding/binary"
	"fmt"
)

// FrameType says what a frame on a pooled connection or a carrier is. Zero is
// no type.
type FrameType byte

// The frames, and what their payload is.
const (
	FrameStart FrameType = 1 // server to client: the stream begins here. Empty.
	FrameAck   FrameType = 2 // client to server: committed, the target is being dialed. Empty.
	FrameData  FrameType = 3 // bytes of the stream, 1 to MaxData of them
	FrameFin   FrameType = 4 // this direction ended in order. Empty.
	FrameReset FrameType = 5 // this direction, or all of the stream, was aborted: a ResetReason
	FrameDone  FrameType = 6 // client to server: the stream is over on this connection: a Disposition

	// On carriers only:
	FrameWindow FrameType = 7 // there is room for so many more bytes of the stream: 4 bytes, see ParseWindow
	FrameCut    FrameType = 8 // this side has left the stream, which has not ended: as if its connection had. Empty.
	FrameProbe  FrameType = 9 // server to client, and back with the same number: a sign of life is asked for. Empty.
)

var frameNames = [...]string{
	FrameStart: "START",
	FrameAck:   "ACK",
	FrameData:  "DATA",
	FrameFin:   "FIN",
	FrameReset: "RESET",
	FrameDone:  "DONE",

	FrameWindow: "WINDOW",
	FrameCut:    "CUT",
	FrameProbe:  "PROBE",
}

// String returns the name that docs/PROTOCOL.md gives the frame.
func (t FrameType) String() string { return codeName("frame type", frameNames[:], byte(t)) }

const (
	// FrameHeaderSize is the length of a frame's header in bytes: type 1,
	// length of the payload 3, stream 4, numbers big-endian.
	FrameHeaderSize = 8

	// MaxData is the most payload bytes a DATA frame can have.
	MaxData = 1 << 20

	// RenewStream is the number from which on a client takes a new instance,
	// whose streams count from 1 again: numbers never wrap around.
	RenewStream uint32 = 1<<32 - 1<<20
)

// FrameHeader precedes every payload.
type FrameHeader struct {
	Type   FrameType
	Length int    // of the payload, in bytes
	Stream uint32 // never 0
}

// PutFrameHeader writes h into b[:FrameHeaderSize]. It panics when b is
// shorter, or when the length is negative or above MaxData: such a header would
// put the peer out of step.
func PutFrameHeader(b []byte, h FrameHeader) {
	if h.Length < 0 || h.Length > MaxData {
		panic(fmt.Sprintf("wire: %v frame with a payload of %d bytes", h.Type, h.Length))
	}
	_ = b[FrameHeaderSize-1]
	binary.BigEndian.PutUint32(b, uint32(h.Length)) // its top byte is 0, and becomes the type
	b[0] = byte(h.Type)
	binary.BigEndian.PutUint32(b[4:], h.Stream)
}

// AppendFrame appends a whole frame to b. It panics like [PutFrameHeader].
func AppendFrame(b []byte, t FrameType, stream uint32, payload ...byte) []byte {
	var header [FrameHeaderSize]byte
	PutFrameHeader(header[:], FrameHeader{Type: t, Length: len(payload), Stream: stream})
	return append(append(b, header[:]...), payload...)
}

// ParseFrameHeader reads the header at the front of b. It accepts only types
// that it knows, with a length that the type allows, on a stream other than 0.
// Whether that frame is due now is for the caller to say.
func ParseFrameHeader(b []byte) (FrameHeader, error) {
	if len(b) < FrameHeaderSize {
		return FrameHeader{}, malformed("frame header", "%d bytes where %d are expected", len(b), FrameHeaderSize)
	}
	h := FrameHeader{
		Type:   FrameType(b[0]),
		Length: int(binary.BigEndian.Uint32(b) & 0xffffff),
		Stream: binary.BigEndian.Uint32(b[4:]),
	}
	shortest, longest, ok := h.Type.payload()
	switch {
	case !ok:
		return FrameHeader{}, malformed("frame", "unknown type %d", b[0])
	case h.Length < shortest || h.Length > longest:
		return FrameHeader{}, malformed(h.Type.String(), "a payload of %d bytes", h.Length)
	case h.Stream == 0:
		return FrameHeader{}, malformed(h.Type.String(), "stream 0")
	}
	return h, nil
}

// payload returns the bounds of the payload's length. ok is false for a type
// that is not known.
func (t FrameType) payload() (shortest, longest int, ok bool) {
	switch t {
	case FrameStart, FrameAck, FrameFin, FrameCut, FrameProbe:
		return 0, 0, true
	case FrameData:
		return 1, MaxData, true
	case FrameReset, FrameDone:
		return 1, 1, true
	case FrameWindow:
		return 4, 4, true
	}
	return 0, 0, false
}

// ParseReset reads the payload of a RESET frame.
func ParseReset(payload []byte) (ResetReason, error) {
	d := decoder{what: "RESET", rest: payload}
	r := ResetReason(d.uint8())
	if !r.known() {
		d.fail("unknown reason %d", byte(r))
	}
	if err := d.end(); err != nil {
		return 0, err
	}
	return r, nil
}

// ParseDone reads the payload of a DONE frame.
func ParseDone(payload []byte) (Disposition, error) {
	d := decoder{what: "DONE", rest: payload}
	p := Disposition(d.uint8())
	if !p.known() {
		d.fail("unknown disposition %d", byte(p))
	}
	if err := d.end(); err != nil {
		return 0, err
	}
	return p, nil
}

// MaxWindow is the most bytes that a receiver can have room for.
const MaxWindow = 1 << 24

// Window is the payload of a WINDOW frame for 1 to MaxWindow bytes more.
func Window(more int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(more)) }

// ParseWindow reads the payload of a WINDOW frame.
func ParseWindow(payload []byte) (more int, err error) {
	d := decoder{what: "WINDOW", rest: payload}
	n := d.uint32()
	if n < 1 || n > MaxWindow {
		d.fail("%d bytes, allowed are 1 to %d", n, MaxWindow)
	}
	if err := d.end(); err != nil {
		return 0, err
	}
	return int(n), nil
}
