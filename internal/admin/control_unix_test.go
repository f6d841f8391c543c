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
	"testing"

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
	l, err := ListenControl(dir)
	require.NoError(t, err)
	info, err := os.Lstat(filepath.Join(dir, ControlName))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	require.NotZero(t, info.Mode()&fs.ModeSocket)
	of, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), of.Mode().Perm())
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "nothing else is left there")

	o := options(&fake{})
	o.Hosts = nil
	go http.Serve(l, Handler(o)) // ends with l
	client := Control(dir)
	defer client.Close()
	r, err := client.get(t.Context(), "/healthz")
	require.NoError(t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.Equal(t, "ok\n", string(body))

	_, err = ListenControl(dir)
	require.ErrorIs(t, err, ErrInUse, "another program's is left alone")
	client.Close()
	require.NoError(t, l.Close())
	_, err = os.Lstat(filepath.Join(dir, ControlName))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestStaleSocket: what a killed program left is replaced, and the former's end
// takes nothing from the next one.
func TestStaleSocket(t *testing.T) {
	dir := socketDir(t)
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(dir, ControlName)})
	require.NoError(t, err)
	dead.SetUnlinkOnClose(false)
	dead.Close()
	former, err := ListenControl(dir)
	require.NoError(t, err)
	require.NoError(t, former.(*control).Listener.Close()) // as one that is killed
	next, err := ListenControl(dir)
	require.NoError(t, err)
	former.Close()
	conn, err := DialControl(t.Context(), dir)
	require.NoError(t, err)
	conn.Close()
	require.NoError(t, next.Close())
}

func TestNoSocketThere(t *testing.T) {
	dir := socketDir(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, ControlName), []byte("mine"), 0o600))
	_, err := ListenControl(dir)
	require.ErrorContains(t, err, "no socket")
	kept, err := os.ReadFile(filepath.Join(dir, ControlName))
	require.NoError(t, err)
	require.Equal(t, "mine", string(kept))

	_, err = ListenControl(filepath.Join(dir, strings.Repeat("d", maxSocketPath)))
	require.ErrorIs(t, err, ErrTooLong)
	require.ErrorContains(t, err, "--state-dir")
}
