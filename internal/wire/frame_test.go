package wire

import (
	"bytes"
	"errors"
	"testing"
)

// goldenFrames are the frames of the examples in docs/PROTOCOL.md.
var goldenFrames = []struct {
	name    string
	hex     string
	typ     FrameType
	stream  uint32
	payload []byte
}{
	{"START", "01 00 00 00 00 00 00 07", FrameStart, 7, nil},
	{"ACK", "02 00 00 00 00 00 00 07", FrameAck, 7, nil},
	{"DATA", "03 00 00 05 00 00 00 07 68 65 6c 6c 6f", FrameData, 7, []byte("hello")},
	{"FIN", "04 00 00 00 00 00 00 07", FrameFin, 7, nil},
	{"RESET", "05 00 00 01 01 02 03 04 02", FrameReset, 0x01020304, []byte{byte(ResetRefused)}},
	{"DONE", "06 00 00 01 ff ff ff ff 01", FrameDone, 0xffffffff, []byte{byte(Keep)}},
	{"WINDOW", "07 00 00 04 00 00 00 07 00 00 80 00", FrameWindow, 7, []byte{0, 0, 0x80, 0}},
	{"CUT", "08 00 00 00 00 00 00 07", FrameCut, 7, nil},
	{"datagrams", "03 00 00 0e 00 00 00 07 00 04 70 69 6e 67 00 00 00 04 70 6f 6e 67", FrameData, 7,
		AppendDatagram(AppendDatagram(AppendDatagram(nil, []byte("ping")), nil), []byte("pong"))},
	{"PROBE", "09 00 00 00 00 00 00 01", FrameProbe, 1, nil},
}

func TestFrameGolden(t *testing.T) {
	for _, g := range goldenFrames {
		want := unhex(t, g.hex)
		got := AppendFrame([]byte("before"), g.typ, g.stream, g.payload...)
		if !bytes.Equal(got, append([]byte("before"), want...)) {
			t.Errorf("%s: appended % x, want % x", g.name, got[len("before"):], want)
		}
		h, err := ParseFrameHeader(want)
		if want := (FrameHeader{g.typ, len(g.payload), g.stream}); err != nil || h != want {
			t.Errorf("%s: parsed as %+v, %v, want %+v", g.name, h, err, want)
		}
	}
}

func TestFrameHeaderLongest(t *testing.T) {
	var b [FrameHeaderSize]byte
	h := FrameHeader{FrameData, MaxData, 1}
	PutFrameHeader(b[:], h)
	if want := unhex(t, "03 10 00 00 00 00 00 01"); !bytes.Equal(b[:], want) {
		t.Errorf("put % x, want % x", b, want)
	}
	if got, err := ParseFrameHeader(b[:]); err != nil || got != h {
		t.Errorf("parsed as %+v, %v", got, err)
	}
}

func TestParseFrameHeaderMalformed(t *testing.T) {
	for name, hex := range map[string]string{
		"nothing":             "",
		"one byte short":      "03 00 00 01 00 00 00",
		"type 0":              "00 00 00 00 00 00 00 01",
		"type 10":             "0a 00 00 00 00 00 00 01",
		"WINDOW of 3 bytes":   "07 00 00 03 00 00 00 01",
		"CUT with payload":    "08 00 00 01 00 00 00 01",
		"type 255":            "ff 00 00 00 00 00 00 01",
		"START with payload":  "01 00 00 01 00 00 00 01",
		"ACK with payload":    "02 00 00 01 00 00 00 01",
		"FIN with payload":    "04 00 01 00 00 00 00 01",
		"empty DATA":          "03 00 00 00 00 00 00 01",
		"DATA one too long":   "03 10 00 01 00 00 00 01",
		"longest length":      "03 ff ff ff 00 00 00 01",
		"RESET without":       "05 00 00 00 00 00 00 01",
		"RESET with two":      "05 00 00 02 00 00 00 01",
		"DONE without":        "06 00 00 00 00 00 00 01",
		"DONE with too much":  "06 01 00 01 00 00 00 01",
		"START of stream 0":   "01 00 00 00 00 00 00 00",
		"DATA of stream 0":    "03 00 00 01 00 00 00 00",
		"a TLS alert instead": "15 03 03 00 02 02 28 00",
	} {
		h, err := ParseFrameHeader(unhex(t, hex))
		if !errors.Is(err, ErrMalformed) || h != (FrameHeader{}) {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
}

func TestPutFrameHeaderPanics(t *testing.T) {
	for name, put := range map[string]func(){
		"negative length": func() { PutFrameHeader(make([]byte, 8), FrameHeader{FrameData, -1, 1}) },
		"too long":        func() { PutFrameHeader(make([]byte, 8), FrameHeader{FrameData, MaxData + 1, 1}) },
		"no room":         func() { PutFrameHeader(make([]byte, 7), FrameHeader{FrameData, 1, 1}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			put()
		}()
	}
}

func TestParseResetAndDoneMalformed(t *testing.T) {
	for _, payload := range [][]byte{nil, {}, {0}, {8}, {255}, {1, 1}} {
		if r, err := ParseReset(payload); !errors.Is(err, ErrMalformed) || r != 0 {
			t.Errorf("ParseReset(%v) = %v, %v", payload, r, err)
		}
	}
	for _, payload := range [][]byte{nil, {}, {0}, {3}, {255}, {2, 2}} {
		if p, err := ParseDone(payload); !errors.Is(err, ErrMalformed) || p != 0 {
			t.Errorf("ParseDone(%v) = %v, %v", payload, p, err)
		}
	}
}

// A relay does this for every chunk of every stream.
func TestFrameHeaderAllocatesNothing(t *testing.T) {
	b := AppendFrame(nil, FrameStart, 9)
	allocs := testing.AllocsPerRun(100, func() {
		h, err := ParseFrameHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		PutFrameHeader(b, h)
	})
	if allocs != 0 {
		t.Errorf("%v allocations for a header", allocs)
	}
}

func FuzzParseFrameHeader(f *testing.F) {
	for _, g := range goldenFrames {
		f.Add(unhex(f, g.hex))
	}
	f.Add([]byte{})
	f.Add(unhex(f, "03 10 00 01 00 00 00 01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseFrameHeader(b)
		if err != nil {
			checkMalformed(t, err)
			return
		}
		var again [FrameHeaderSize]byte
		PutFrameHeader(again[:], h)
		if !bytes.Equal(again[:], b[:FrameHeaderSize]) {
			t.Errorf("% x became % x", b[:FrameHeaderSize], again)
		}
	})
}

func FuzzParseReset(f *testing.F) {
	f.Add([]byte{byte(ResetAborted)})
	f.Add([]byte{0})
	f.Add([]byte{1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseReset(b)
		if err != nil {
			checkMalformed(t, err)
		} else if !bytes.Equal(b, []byte{byte(r)}) {
			t.Errorf("% x became %v", b, r)
		}
	})
}

func FuzzParseDone(f *testing.F) {
	f.Add([]byte{byte(Keep)})
	f.Add([]byte{byte(Close)})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseDone(b)
		if err != nil {
			checkMalformed(t, err)
		} else if !bytes.Equal(b, []byte{byte(p)}) {
			t.Errorf("% x became %v", b, p)
		}
	})
}

func TestParseWindow(t *testing.T) {
	for _, n := range []int{1, 1 << 15, MaxWindow} {
		b := Window(n)
		if got, err := ParseWindow(b); err != nil || got != n {
			t.Errorf("%d became %d, %v", n, got, err)
		}
	}
	for _, b := range [][]byte{{}, {0, 0, 1}, {0, 0, 0, 0}, {1, 0, 0, 1}, {0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 1, 0}} {
		if n, err := ParseWindow(b); !errors.Is(err, ErrMalformed) || n != 0 {
			t.Errorf("% x: %d, %v", b, n, err)
		}
	}
}

func FuzzParseWindow(f *testing.F) {
	f.Add([]byte{0, 0, 128, 0})
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ParseWindow(b)
		if err != nil {
			checkMalformed(t, err)
		} else if again := Window(n); !bytes.Equal(again, b) {
			t.Errorf("% x became % x", b, again)
		}
	})
}
