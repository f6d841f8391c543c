package session

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/tunnelpool/pool/internal/wire"
)

// spoken is a connection whose peer says what it is given and hangs up, and
// takes whatever it is told.
type spoken struct {
	in *bytes.Reader

	mu    sync.Mutex
	out   bytes.Buffer
	ended bool
}

func (s *spoken) Read(b []byte) (int, error) { return s.in.Read(b) }
func (s *spoken) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return 0, net.ErrClosed
	}
	return s.out.Write(b)
}
func (s *spoken) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	return nil
}
func (s *spoken) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *spoken) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *spoken) SetDeadline(time.Time) error      { return nil }
func (s *spoken) SetReadDeadline(time.Time) error  { return nil }
func (s *spoken) SetWriteDeadline(time.Time) error { return nil }

// FuzzLink: whatever a peer says, the link ends with it, hands on what is well
// formed and nothing else, and says no more than pings and pongs.
func FuzzLink(f *testing.F) {
	var all []byte
	for _, m := range []wire.Message{
		wire.Ping{Nonce: 1}, wire.Pong{Nonce: 1}, wire.Need{Count: 3}, wire.Open{Stream: 1, ID: [8]byte([]byte("abcdWXYZ"))},
		wire.Cancel{Stream: 1}, wire.Withdraw{What: wire.WhatService, Ref: 1}, wire.GoAway{Code: wire.Shutdown, Text: "bye"},
	} {
		b := wire.AppendMessage(nil, m)
		f.Add(b)
		f.Add(b[:len(b)-1])
		all = append(all, b...)
	}
	f.Add(all)
	f.Add(bytes.Repeat(wire.AppendMessage(nil, wire.Ping{}), 100))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		var handed []byte
		conn := &spoken{in: bytes.NewReader(said)}
		err := New(conn, time.Minute).Run(context.Background(), func(m wire.Message) error {
			handed = wire.AppendMessage(handed, m)
			return nil
		})
		if err == nil {
			t.Fatal("the link ended without a reason")
		}
		rest := said
		for len(handed) > 0 { // each as it was said, in order; pings and pongs in between
			m, err := wire.ReadMessage(bytes.NewReader(rest), nil)
			if err != nil {
				t.Fatalf("%v, and it was handed on", err)
			}
			b := wire.AppendMessage(nil, m)
			rest = rest[len(b):]
			switch m.(type) {
			case wire.Ping, wire.Pong:
				continue
			}
			if !bytes.HasPrefix(handed, b) {
				t.Fatalf("%+v was said, and another message handed on", m)
			}
			handed = handed[len(b):]
		}
		for out := bytes.NewReader(conn.out.Bytes()); out.Len() > 0; {
			m, err := wire.ReadMessage(out, nil)
			if err != nil {
				t.Fatalf("the link said what is malformed: %v", err)
			}
			switch m.(type) {
			case wire.Ping, wire.Pong:
			default:
				t.Fatalf("the link said %+v", m)
			}
		}
	})
}
