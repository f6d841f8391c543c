//go:build unix

package watch

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFileBecomesPipe: a pipe that takes the place of a file is told of, and holds
// nobody up, the end of the program least of all.
func TestFileBecomesPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	require.NoError(t, os.WriteFile(path, []byte("a1"), 0o600))
	list := []File{{Path: path, Read: small, Known: Content{Data: "a1"}}}
	followed := make(map[string]*follower)
	require.False(t, look(followed, list, false))

	require.NoError(t, os.Remove(path))
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip("no pipes here: ", err)
	}
	require.False(t, look(followed, list, false), "it may be on its way")
	require.True(t, look(followed, list, false))
	require.EqualError(t, followed[path].current.Err, path+" is no file any more, but a pipe or a device; put a file there")

	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, []byte("a2"), 0o600))
	require.True(t, look(followed, list, true))
	require.Equal(t, Content{Data: "a2"}, followed[path].current)
}
