package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStateDir(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the places are those of Unix systems")
	}
	wd, err := os.Getwd()
	require.NoError(t, err)
	for _, c := range []struct {
		what, flag, state, xdg string
		root                   bool
		want                   string
	}{
		{"the flag before all", "/flag", "/state", "/xdg", true, "/flag"},
		{"a relative flag is made absolute", "here", "/state", "", false, filepath.Join(wd, "here")},
		{"the service manager's, for root too", "", "/state", "/xdg", true, "/state"},
		{"the first of the service manager's", "", "/one:/two", "", false, "/one"},
		{"root's", "", "", "/xdg", true, "/var/lib/tunnelpool"},
		{"the user's XDG directory", "", "", "/xdg", false, "/xdg/tunnelpool"},
		{"a relative XDG directory is ignored", "", "", "xdg", false, "/home/me/.local/state/tunnelpool"},
		{"XDG's default", "", "", "", false, "/home/me/.local/state/tunnelpool"},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Setenv("STATE_DIRECTORY", c.state)
			t.Setenv("XDG_STATE_HOME", c.xdg)
			t.Setenv("HOME", "/home/me")
			got, err := stateDir(c.flag, c.root)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestStateDirWithoutHome(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("HOME is not what Windows asks")
	}
	for _, name := range []string{"STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"} {
		t.Setenv(name, "")
	}
	_, err := stateDir("", false)
	require.ErrorContains(t, err, "--state-dir")
}

func TestStateDirCreatesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	_, err := StateDir(dir)
	require.NoError(t, err)
	require.NoDirExists(t, dir)
}

func TestIdentity(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	first, err := Identity(dir)
	require.NoError(t, err)
	require.NotZero(t, first)
	again, err := Identity(dir)
	require.NoError(t, err)
	require.Equal(t, first, again)
	other, err := Identity(t.TempDir())
	require.NoError(t, err)
	require.NotEqual(t, first, other)
}

func TestDamagedIdentity(t *testing.T) {
	for what, content := range map[string]string{
		"empty": "", "short": "0123456789abcdef", "long": strings.Repeat("0", 34),
		"not hexadecimal": strings.Repeat("x", 32), "odd": strings.Repeat("0", 31),
		"large": strings.Repeat("0", maxStateFile+1),
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "identity")
			writeFile(t, path, content, 0o600)
			_, err := Identity(dir)
			require.ErrorContains(t, err, path)
			if what != "large" {
				require.ErrorContains(t, err, "remove it to get a new one")
			}
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, content, string(data), "it is left as it is")
		})
	}
}

func TestExistingIdentity(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	id, err := ExistingIdentity(dir)
	require.NoError(t, err)
	require.Zero(t, id)
	require.NoDirExists(t, dir, "nothing is made")
	made, err := Identity(dir)
	require.NoError(t, err)
	id, err = ExistingIdentity(dir)
	require.NoError(t, err)
	require.Equal(t, made, id)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "identity"), []byte("odd\n"), 0o600))
	_, err = ExistingIdentity(dir)
	require.ErrorContains(t, err, "does not hold an identity")
	_, err = ExistingIdentity(filepath.Join(dir, "identity"))
	require.ErrorContains(t, err, "cannot read state: ")
}

func TestWritable(t *testing.T) {
	dir := t.TempDir()
	there, err := Writable(dir)
	require.NoError(t, err)
	require.True(t, there)
	there, err = Writable(filepath.Join(dir, "a", "b"))
	require.NoError(t, err)
	require.False(t, there)
	require.NoDirExists(t, filepath.Join(dir, "a"), "nothing is made")
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = Writable(file)
	require.ErrorContains(t, err, file+": it is no directory")
	_, err = Writable(filepath.Join(file, "below"))
	require.Error(t, err)
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	require.NoError(t, os.Chmod(dir, 0o500))
	t.Cleanup(func() { os.Chmod(dir, 0o700) })
	_, err = Writable(dir)
	require.ErrorIs(t, err, fs.ErrPermission)
}
