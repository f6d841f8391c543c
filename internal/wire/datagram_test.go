package wire

import (
	"errors"
	"testing"
)

func TestDatagramHeader(t *testing.T) {
	b := AppendDatagram(nil, make([]byte, MaxDatagram))
	if len(b) != DatagramHeaderSize+MaxDatagram || b[0] != 0xff || b[1] != 0xe3 {
		t.Errorf("the longest: %d bytes, which begin with % x", len(b), b[:2])
	}
	if n, err := ParseDatagramHeader(b); n != MaxDatagram || err != nil {
		t.Errorf("the longest: %d, %v", n, err)
	}
	if n, err := ParseDatagramHeader([]byte{0, 0}); n != 0 || err != nil {
		t.Errorf("an empty one: %d, %v", n, err)
	}
	if _, err := ParseDatagramHeader([]byte{0xff, 0xe4}); !errors.Is(err, ErrMalformed) {
		t.Errorf("one byte more than there can be: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a datagram was appended that is too long")
		}
	}()
	AppendDatagram(nil, make([]byte, MaxDatagram+1))
}
