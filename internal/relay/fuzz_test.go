package relay

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/tunnelpool/pool/internal/wire"
)

// scripted is a peer that says what it is given, then hangs up, and takes
// whatever it is told.
type scripted struct {
	mu     sync.Mutex
	input  *bytes.Reader
	closed chan struct{}
	once   sync.Once
}

func newScripted(input []byte) *scripted {
	return &scripted{input: bytes.NewReader(input), closed: make(chan struct{})}
}

func (s *scripted) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.input.Read(b)
}
func (s *scripted) Write(b []byte) (int, error) {
	select {
	case <-s.closed:
		return 0, net.ErrClosed
	default:
		return len(b), nil
	}
}
func (s *scripted) Close() error                     { s.once.Do(func() { close(s.closed) }); return nil }
func (s *scripted) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *scripted) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *scripted) SetDeadline(time.Time) error      { return nil }
func (s *scripted) SetReadDeadline(time.Time) error  { return nil }
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

// sink is an endpoint: it keeps what it is given, and says nothing until it is
// closed.
type sink struct {
	scripted
	got bytes.Buffer
}

func newSink() *sink { return &sink{scripted: scripted{closed: make(chan struct{})}} }

func (s *sink) Read([]byte) (int, error) {
	<-s.closed
	return 0, io.EOF
}
func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.Write(b)
}
func (s *sink) CloseWrite() error { return s.Close() }

// payloadOf is what the endpoint of stream n may have received of input, at
// most: the payload of its DATA frames, as far as the input has frames.
func payloadOf(input []byte, n uint32) []byte {
	var all []byte
	for {
		h, err := wire.ParseFrameHeader(input)
		if err != nil {
			return all
		}
		input = input[wire.FrameHeaderSize:]
		have := min(h.Length, len(input))
		if h.Stream == n && h.Type == wire.FrameData {
			all = append(all, input[:have]...)
		}
		if have < h.Length {
			return all
		}
		input = input[have:]
	}
}

const fuzzStream = 7

func fuzzSeeds(f *testing.F, first wire.FrameType) {
	begin := frame(first, fuzzStream)
	data := frame(wire.FrameData, fuzzStream, []byte("payload")...)
	old := frame(wire.FrameData, fuzzStream-1, []byte("old")...)
	fin, rst := frame(wire.FrameFin, fuzzStream), frame(wire.FrameReset, fuzzStream, 1)
	done := frame(wire.FrameDone, fuzzStream, 1)
	for _, seed := range [][]byte{
		nil, begin, frames(begin, data), frames(begin, data, fin), frames(begin, data, fin, done),
		frames(begin, data, fin, rst, done), frames(old, begin, old, data, rst, done),
		frames(begin, rst, data), frames(begin, data, data[:10]), frames(begin, done, done),
		frames(begin, frame(wire.FrameData, fuzzStream+1, 'x')), []byte("GET / HTTP/1.1\r\n\r\n"),
		frames(begin, frame(wire.FrameData, fuzzStream, pattern(1, 40_000)...), fin, done, []byte{1}),
	} {
		f.Add(seed)
	}
}

// FuzzServe: whatever a client says, Serve returns, and the user gets bytes of
// its own stream only, in order.
func FuzzServe(f *testing.F) {
	fuzzSeeds(f, wire.FrameAck)
	f.Fuzz(func(t *testing.T, input []byte) {
		user := newSink()
		res := serveOn(t.Context(), user, newScripted(input), fuzzStream, time.Minute)
		checkFuzzed(t, input, user, res)
	})
}

// FuzzAttend: whatever a server says, Attend returns, and the target gets bytes
// of its own stream only, in order.
func FuzzAttend(f *testing.F) {
	fuzzSeeds(f, wire.FrameStart)
	f.Fuzz(func(t *testing.T, input []byte) {
		target := newSink()
		res := attend(t.Context(), newScripted(input), Task{
			Commit: agree,
			Number: fuzzStream, StartWait: time.Minute,
			Dial:    func(context.Context) (net.Conn, wire.ResetReason) { return target, 0 },
			Reserve: func() bool { return true },
		})
		checkFuzzed(t, input, target, res)
	})
}

func checkFuzzed(t *testing.T, input []byte, end *sink, res Result) {
	got := end.got.Bytes()
	if may := payloadOf(input, fuzzStream); !bytes.HasPrefix(may, got) {
		t.Fatalf("the endpoint got %q, its stream carries %q", got, may)
	}
	if res.Keep && res.Err != nil {
		t.Fatalf("a broken connection is to be kept: %+v", res)
	}
}
