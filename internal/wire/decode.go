package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrMalformed: the bytes are not the protocol's. The connection they came
// from cannot be trusted to be in step and has to be closed.
var ErrMalformed = errors.New("malformed")

func malformed(what, format string, args ...any) error {
	return fmt.Errorf("%w %s: %s", ErrMalformed, what, fmt.Sprintf(format, args...))
}

// decoder takes fields from the front of a body. The first failure sticks, so
// that a layout reads as a list of fields; what is taken after it is zero.
type decoder struct {
	what string // of which body, for the error
	rest []byte
	err  error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = malformed(d.what, format, args...)
	}
	d.rest = nil
}

func (d *decoder) take(n int) []byte {
	if len(d.rest) < n {
		d.fail("it ends in the middle of a field")
		return nil
	}
	field := d.rest[:n]
	d.rest = d.rest[n:]
	return field
}

func (d *decoder) uint8() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uint16() uint16 {
	if b := d.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (d *decoder) uint32() uint32 {
	if b := d.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// stream takes a stream's number.
func (d *decoder) stream() uint32 {
	n := d.uint32()
	if n == 0 {
		d.fail("stream 0")
	}
	return n
}

func (d *decoder) uint64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) millis() time.Duration {
	return time.Duration(d.uint32()) * time.Millisecond
}

// text takes a string with its length in front. It copies: the body may be
// scratch space of the caller.
func (d *decoder) text(field string) string {
	b := d.take(int(d.uint8()))
	if err := checkText(b); err != nil {
		d.fail("%s: %v", field, err)
		return ""
	}
	return string(b)
}

func (d *decoder) code(field string) DenyCode {
	c := DenyCode(d.uint8())
	if !c.known() {
		d.fail("%s: unknown code %d", field, byte(c))
	}
	return c
}

// end answers for the whole body: everything was there and nothing is left.
func (d *decoder) end() error {
	if d.err == nil && len(d.rest) > 0 {
		d.fail("%d bytes after its last field", len(d.rest))
	}
	return d.err
}

// appendMillis writes whole milliseconds. What the field cannot hold becomes
// its nearest bound, which the decoder's range check then refuses; wrapping
// around could pass for a legal value.
func appendMillis(b []byte, d time.Duration) []byte {
	ms := min(max(d.Milliseconds(), 0), math.MaxUint32)
	return binary.BigEndian.AppendUint32(b, uint32(ms))
}
