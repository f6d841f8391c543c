package pool

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// spoken is a connection whose peer says what it is given and hangs up, and
// takes whatever it is told.
type spoken struct {
	in    *bytes.Reader
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
func (s *spoken) closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}
func (s *spoken) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *spoken) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *spoken) SetDeadline(time.Time) error      { return nil }
func (s *spoken) SetReadDeadline(time.Time) error  { return nil }
func (s *spoken) SetWriteDeadline(time.Time) error { return nil }

// FuzzNamedByServer is the client's first read on a pooled connection of a pool
// pair without a key: it becomes an entry under the ID that was sent, or is
// closed.
func FuzzNamedByServer(f *testing.F) {
	f.Add([]byte("abcdWXYZ"))
	f.Add([]byte("abcdWXYZand more"))
	f.Add([]byte("short"))
	f.Add([]byte("abcd\x00\x1b[m"))
	f.Add([]byte("\x15\x03\x03\x00\x02\x02\x46"))
	f.Add([]byte{})
	plain := pairing{cfg: ClientConfig{Security: Security{TLS: TLSPlain}}}
	short := pairing{cfg: ClientConfig{Security: Security{TLS: TLSPlain}, ShortIDs: true}}
	f.Fuzz(func(t *testing.T, sent []byte) {
		conn := &spoken{in: bytes.NewReader(sent)}
		e, err := short.secureAndName(t.Context(), conn)
		require.Equal(t, min(4, len(sent)), len(sent)-conn.in.Len())
		if err == nil {
			require.Equal(t, hex.EncodeToString(sent[:4]), e.id.String())
		} else {
			require.True(t, conn.closed())
			require.Less(t, len(sent), 4)
		}

		conn = &spoken{in: bytes.NewReader(sent)}
		e, err = plain.secureAndName(t.Context(), conn)
		require.Equal(t, min(8, len(sent)), len(sent)-conn.in.Len(), "what follows the ID is its holder's")
		if err != nil {
			require.True(t, conn.closed())
			require.False(t, len(sent) >= 8 && ID(sent[:8]).valid(), "%q: %v", sent, err)
			return
		}
		require.Equal(t, sent[:8], e.id[:])
		require.True(t, e.id.valid())
	})
}

// FuzzProofToClient is what a client hears in answer to its proof, on a path
// without TLS: nobody passes who does not have the key.
func FuzzProofToClient(f *testing.F) {
	key := NewKey()
	f.Add(make([]byte, 64))
	f.Add(make([]byte, 32))
	f.Add([]byte("\x15\x03\x03\x00\x02\x02\x46"))
	f.Add([]byte("this port speaks plain TCP\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, sent []byte) {
		for _, binding := range [][]byte{nil, make([]byte, 32)} {
			conn := &spoken{in: bytes.NewReader(sent)}
			err := proveTo(conn, binding, key, Hello{KeyID: key.ID(), Kind: KindPool, Data: []byte("hello")})
			require.Error(t, err, "%q passed for a server", sent)
			known := errors.Is(err, ErrRefused) || errors.Is(err, ErrImpostor) || errors.Is(err, ErrTLSMismatch)
			require.True(t, known, "%v", err)
			require.LessOrEqual(t, len(sent)-conn.in.Len(), 64)
		}
	})
}

// FuzzProofToServer is all that a stranger says to a server, in either mode:
// nobody passes who does not have the key, and nobody is told more than a nonce.
func FuzzProofToServer(f *testing.F) {
	key := NewKey()
	hello := appendHello(nil, Hello{KeyID: key.ID(), Kind: KindPool, Data: []byte("hello")})
	f.Add(append(hello, make([]byte, 64)...))
	f.Add(append(hello, make([]byte, 32)...))
	f.Add(hello)
	f.Add([]byte("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"))
	f.Add([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, sent []byte) {
		for _, binding := range [][]byte{nil, make([]byte, 32)} {
			conn := &spoken{in: bytes.NewReader(sent)}
			_, err := verifyClient(conn, binding, func(h Hello) (Key, bool) { return key, h.KeyID == key.ID() }, func() error { return nil })
			require.Error(t, err, "%q passed for a client", sent)
			told := nonceSize // in plain mode, where the proof is the answer to it
			if binding != nil {
				told = 0
			}
			require.LessOrEqual(t, conn.out.Len(), told)
			require.LessOrEqual(t, len(sent)-conn.in.Len(), helloHeadSize+maxHello+nonceSize+proofSize)
			if errors.Is(err, io.EOF) {
				require.Empty(t, sent, "%v", err)
			}
		}
	})
}
