package relay

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/wire"
)

// unixPair returns both ends of a connection over a Unix socket.
func unixPair(t testing.TB) (dialed, accepted *net.UnixConn) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("targets are TCP there, as a rule")
	}
	dir, err := os.MkdirTemp("", "") // a test's own has too long a name for a socket
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	require.NoError(t, err)
	defer l.Close()
	d, err := net.Dial("unix", l.Addr().String())
	require.NoError(t, err)
	a, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { d.Close(); a.Close() })
	return d.(*net.UnixConn), a.(*net.UnixConn)
}

// unixRig is a stream between a user and a target behind a Unix socket.
type unixRig struct {
	user             *net.TCPConn
	target           *net.UnixConn
	cancel           context.CancelFunc // of the client
	served, attended chan Result
}

func startUnix(t *testing.T, client, server net.Conn) *unixRig {
	t.Helper()
	r := &unixRig{served: make(chan Result, 1), attended: make(chan Result, 1)}
	var user *net.TCPConn
	r.user, user = tcpPair(t)
	var target *net.UnixConn
	target, r.target = unixPair(t)
	limit := time.Now().Add(patience)
	r.user.SetDeadline(limit)
	r.target.SetDeadline(limit)
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	t.Cleanup(cancel)
	go func() { r.served <- serveOn(t.Context(), user, server, 1, patience) }()
	go func() {
		r.attended <- attend(ctx, client, Task{
			Number: 1, StartWait: patience, Commit: agree, Reserve: func() bool { return true },
			Dial: func(context.Context) (net.Conn, wire.ResetReason) { return target, 0 },
		})
	}()
	return r
}

func (r *unixRig) keptByBoth(t *testing.T) (served, attended Result) {
	t.Helper()
	served, attended = await(t, r.served), await(t, r.attended)
	require.True(t, served.Keep, "server: %+v", served)
	require.True(t, attended.Keep, "client: %+v", attended)
	return served, attended
}

// TestUnixTarget: what users of a TCP target rely on holds for one behind a Unix
// socket, save that it is told of a reset by an end and by failing writes.
func TestUnixTarget(t *testing.T) {
	much := pattern(3, 3<<20)
	for _, tt := range []struct {
		name string
		play func(t *testing.T, r *unixRig)
	}{
		{"the user ends first", func(t *testing.T, r *unixRig) {
			send(t, r.user, "question")
			require.NoError(t, r.user.CloseWrite())
			got, err := io.ReadAll(r.target)
			require.NoError(t, err)
			require.Equal(t, "question", string(got))
			go func() { r.target.Write(much); r.target.Close() }()
			got, err = io.ReadAll(r.user)
			require.NoError(t, err)
			require.True(t, bytes.Equal(much, got))
			r.keptByBoth(t)
		}},
		{"the target ends first", func(t *testing.T, r *unixRig) {
			send(t, r.target, "greeting")
			require.NoError(t, r.target.CloseWrite())
			got, err := io.ReadAll(r.user)
			require.NoError(t, err)
			require.Equal(t, "greeting", string(got))
			go func() { r.user.Write(much); r.user.CloseWrite() }()
			got, err = io.ReadAll(r.target)
			require.NoError(t, err)
			require.True(t, bytes.Equal(much, got))
			r.keptByBoth(t)
		}},
		{"the user resets", func(t *testing.T, r *unixRig) {
			send(t, r.user, "half a")
			receive(t, r.target, "half a")
			reset(t, r.user)
			_, err := r.target.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
			_, err = r.target.Write([]byte("answer"))
			require.ErrorIs(t, err, syscall.EPIPE)
			served, attended := r.keptByBoth(t)
			require.Equal(t, wire.ResetAborted, served.Reset)
			require.Equal(t, wire.ResetAborted, attended.Reset)
		}},
		{"the target leaves without reading", func(t *testing.T, r *unixRig) {
			send(t, r.user, "unheard")
			require.Eventually(t, func() bool { return readable(r.target) }, patience, time.Millisecond)
			r.target.Close()
			seesReset(t, r.user)
			_, attended := r.keptByBoth(t)
			require.Equal(t, wire.ResetAborted, attended.Reset)
		}},
		{"the client ends", func(t *testing.T, r *unixRig) {
			send(t, r.user, "x")
			receive(t, r.target, "x")
			r.cancel()
			seesReset(t, r.user)
			_, err := r.target.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
			require.False(t, await(t, r.attended).Keep)
			require.False(t, await(t, r.served).Keep)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inEachMode(t, func(t *testing.T, lane func() (client, server net.Conn)) {
				client, server := lane()
				tt.play(t, startUnix(t, client, server))
			})
		})
	}
}
