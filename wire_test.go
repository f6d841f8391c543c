package pool

import (
	"crypto/tls"
	"encoding/hex"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRawPeerReadsAnIDAndNothingElse: without a key and without TLS a server
// pool writes 8 printable bytes, different on each connection, and then waits;
// with ShortIDs 4 bytes, which are not printable alone.
func TestRawPeerReadsAnIDAndNothingElse(t *testing.T) {
	for name, form := range map[string]struct {
		short     bool
		size      int
		printable bool
		text      func([]byte) string
	}{
		"8 bytes": {false, 8, true, func(b []byte) string { return string(b) }},
		"4 bytes": {true, 4, false, hex.EncodeToString},
	} {
		t.Run(name, func(t *testing.T) {
			const peers = 1000
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			p := run(t, keep(t)(NewServer(ServerConfig{
				Listener: l, TLS: TLSPlain, Limits: Limits{MaxCap: peers}, ShortIDs: form.short,
			})))
			conns := make([]net.Conn, peers)
			seen := map[string]bool{}
			for i := range conns {
				conns[i], err = net.Dial("tcp", l.Addr().String())
				require.NoError(t, err)
				defer conns[i].Close()
				id := make([]byte, form.size)
				_, err = io.ReadFull(conns[i], id)
				require.NoError(t, err)
				require.Equal(t, form.printable, printable(id), "%q", id)
				require.False(t, seen[form.text(id)], "%q twice", id)
				seen[form.text(id)] = true
			}
			require.Eventually(t, func() bool { return p.Active() == peers }, 10*time.Second, time.Millisecond)
			for _, c := range conns { // all that is ever written has been
				require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Millisecond)))
				n, err := c.Read(make([]byte, 1))
				require.Zero(t, n)
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			}
			for range conns {
				id, _, err := p.ServerGet(0)
				require.NoError(t, err)
				require.True(t, seen[id])
			}
			p.Flush()
		})
	}
}

// TestStrangersGetNoID: with a key, who cannot prove it reads no ID and is
// never handed out, in all modes.
func TestStrangersGetNoID(t *testing.T) {
	key := NewKey()
	strangers := map[string]func(net.Conn) net.Conn{
		"says nothing":  func(c net.Conn) net.Conn { return c },
		"speaks HTTP":   func(c net.Conn) net.Conn { io.WriteString(c, "GET / HTTP/1.1\r\n\r\n"); return c },
		"sends zeros":   func(c net.Conn) net.Conn { c.Write(make([]byte, 1000)); return c },
		"speaks TLS":    func(c net.Conn) net.Conn { return tls.Client(c, &tls.Config{InsecureSkipVerify: true}) },
		"guesses a key": func(c net.Conn) net.Conn { return guess(c, NewKey()) },
		"guesses in TLS": func(c net.Conn) net.Conn {
			return guess(tls.Client(c, &tls.Config{InsecureSkipVerify: true}), NewKey())
		},
		"hangs up":       func(c net.Conn) net.Conn { c.(*net.TCPConn).CloseWrite(); return c },
		"knows a key ID": func(c net.Conn) net.Conn { return guess(c, key) },
	}
	allModes(t, func(t *testing.T, mode TLSMode) {
		p := openPair(t, mode, ServerConfig{Keys: KnownKeys(key), HandshakeTimeout: 500 * time.Millisecond},
			ClientConfig{Security: Security{Key: key}, Limits: Limits{MinCap: 1, MaxCap: 1}})
		p.full(t, 1)
		honest := mustGet(t, p.server)
		for name, approach := range strangers {
			conn, err := net.Dial("tcp", p.listener.Addr().String())
			require.NoError(t, err)
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			conn = approach(conn)
			answer, _ := io.ReadAll(conn)
			switch string(answer) {
			case "", string(answerToPlain), string(answerToTLS):
			default:
				// A nonce may be asked for, and no more: an ID is 8 bytes alone.
				require.Len(t, answer, nonceSize, "%s: %q", name, answer)
				require.Equal(t, TLSPlain, mode)
			}
			conn.Close()
		}
		require.EqualValues(t, 1, p.server.Stats().Created, "the honest one")
		_, _, err := p.server.ServerGet(10 * time.Millisecond)
		require.ErrorIs(t, err, ErrTimeout)
		require.Eventually(t, func() bool {
			rejected := uint64(0)
			for _, n := range p.server.Stats().Rejected {
				rejected += n
			}
			return rejected == uint64(len(strangers))
		}, 5*time.Second, time.Millisecond)
		honest.Close()
	})
}

// guess names a key and sends zeros where the proof of it belongs. What is
// answered is still to read.
func guess(conn net.Conn, key Key) net.Conn {
	message := appendHello(nil, Hello{KeyID: key.ID(), Kind: KindPool})
	conn.Write(append(message, make([]byte, 2*proofSize)...))
	return conn
}
