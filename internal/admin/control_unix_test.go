//go:build unix

package admin

import (
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// socketDir is a directory whose path is short enough for a socket.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "tp")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestControlSocket(t *testing.T) {
	dir := filepath.Join(socketDir(t), "state")
	l, err := ListenControl(ControlPath(dir, "tunnel-server"))
	require.NoError(t, err)
	info, err := os.Lstat(ControlPath(dir, "tunnel-server"))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	require.NotZero(t, info.Mode()&fs.ModeSocket)
	of, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), of.Mode().Perm())
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 2, "the socket, its lock, and nothing else")

	o := options(&fake{})
	o.Hosts = nil
	go http.Serve(l, Handler(o)) // ends with l
	client := Control(dir, "tunnel-server")
	defer client.Close()
	r, err := client.get(t.Context(), "/healthz")
	require.NoError(t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.Equal(t, "ok\n", string(body))

	_, err = ListenControl(ControlPath(dir, "tunnel-server"))
	require.ErrorIs(t, err, ErrInUse, "another program's is left alone")
	client.Close()
	require.NoError(t, l.Close())
	_, err = os.Lstat(ControlPath(dir, "tunnel-server"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestStaleSocket: what a killed program left is replaced, and the former's end
// takes nothing from the next one.
func TestStaleSocket(t *testing.T) {
	dir := socketDir(t)
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: ControlPath(dir, "tunnel-server")})
	require.NoError(t, err)
	dead.SetUnlinkOnClose(false)
	dead.Close()
	former, err := ListenControl(ControlPath(dir, "tunnel-server"))
	require.NoError(t, err)
	require.NoError(t, former.(*control).Listener.Close()) // as one that is killed
	next, err := ListenControl(ControlPath(dir, "tunnel-server"))
	require.NoError(t, err)
	former.Close()
	conn, err := net.Dial("unix", ControlPath(dir, "tunnel-server"))
	require.NoError(t, err)
	conn.Close()
	require.NoError(t, next.Close())
}

func TestNoSocketThere(t *testing.T) {
	dir := socketDir(t)
	require.NoError(t, os.WriteFile(ControlPath(dir, "tunnel-server"), []byte("mine"), 0o600))
	_, err := ListenControl(ControlPath(dir, "tunnel-server"))
	require.ErrorContains(t, err, "no socket")
	kept, err := os.ReadFile(ControlPath(dir, "tunnel-server"))
	require.NoError(t, err)
	require.Equal(t, "mine", string(kept))

	_, err = ListenControl(filepath.Join(dir, strings.Repeat("d", maxSocketPath), "x.sock"))
	require.ErrorIs(t, err, ErrTooLong)
	_, err = Control(filepath.Join(dir, strings.Repeat("d", maxSocketPath)), "tunnel-server").Report(t.Context())
	require.ErrorIs(t, err, ErrTooLong)
	require.ErrorContains(t, err, "--state-dir")
}

// TestControlSocketOfMany: of programs that start at the same moment, where one has
// left its socket behind, one gets it and knows.
func TestControlSocketOfMany(t *testing.T) {
	path := filepath.Join(socketDir(t), "p.sock")
	for range 20 {
		stale, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
		require.NoError(t, err)
		stale.SetUnlinkOnClose(false)
		stale.Close()
		var mu sync.Mutex // guards got
		var got []net.Listener
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				l, err := ListenControl(path)
				if err != nil {
					assert.ErrorIs(t, err, ErrInUse)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				got = append(got, l)
			})
		}
		all.Wait()
		require.Len(t, got, 1)
		require.NoError(t, got[0].Close())
	}
}
