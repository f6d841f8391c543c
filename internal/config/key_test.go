package config

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// keyPlaces are the three places of a key, each with one of its own.
type keyPlaces struct {
	file, dir              string
	inFile, inEnv, inState pool.Key
}

func newKeyPlaces(t *testing.T) keyPlaces {
	p := keyPlaces{file: filepath.Join(t.TempDir(), "given"), dir: t.TempDir(),
		inFile: pool.NewKey(), inEnv: pool.NewKey(), inState: pool.NewKey()}
	writeFile(t, p.file, p.inFile.Text()+"\n", 0o600)
	writeFile(t, filepath.Join(p.dir, "key"), p.inState.Text()+"\n", 0o600)
	t.Setenv(keyVariable, p.inEnv.Text())
	return p
}

func writeFile(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), mode))
	require.NoError(t, os.Chmod(path, mode))
}

// bothEnds runs a test for the server's way to a key and for the client's.
func bothEnds(t *testing.T, test func(*testing.T, func(string, string) (KeySource, error))) {
	t.Run("server", func(t *testing.T) { test(t, ServerKey) })
	t.Run("client", func(t *testing.T) { test(t, ClientKey) })
}

func TestKeyPrecedence(t *testing.T) {
	bothEnds(t, func(t *testing.T, find func(string, string) (KeySource, error)) {
		p := newKeyPlaces(t)
		got, err := find(p.file, p.dir)
		require.NoError(t, err)
		require.Equal(t, p.inFile.Text(), got.Key.Text())
		require.Equal(t, p.file, got.Path)

		got, err = find("", p.dir)
		require.NoError(t, err)
		require.Equal(t, p.inEnv.Text(), got.Key.Text())
		require.Empty(t, got.Path)
		require.False(t, got.Loose)

		t.Setenv(keyVariable, "")
		got, err = find("", p.dir)
		require.NoError(t, err)
		require.Equal(t, p.inState.Text(), got.Key.Text())
		require.Equal(t, filepath.Join(p.dir, "key"), got.Path)
		require.False(t, got.Created)
	})
}

// A key that was named and cannot be used is an error, never a reason to look
// in the next place.
func TestNamedKeyIsFinal(t *testing.T) {
	bothEnds(t, func(t *testing.T, find func(string, string) (KeySource, error)) {
		p := newKeyPlaces(t)
		_, err := find(filepath.Join(p.dir, "nowhere"), p.dir)
		require.ErrorContains(t, err, "--key-file: ")
		require.ErrorIs(t, err, os.ErrNotExist)
		t.Setenv(keyVariable, "short")
		_, err = find("", p.dir)
		require.ErrorIs(t, err, pool.ErrBadKey)
		require.ErrorContains(t, err, keyVariable+": ")
	})
}

func TestClientWithoutKey(t *testing.T) {
	t.Setenv(keyVariable, "")
	dir := filepath.Join(t.TempDir(), "state")
	_, err := ClientKey("", dir)
	for _, place := range []string{"--key-file", keyVariable, filepath.Join(dir, "key"), "tunnel-server key show"} {
		require.ErrorContains(t, err, place)
	}
	require.NoDirExists(t, dir)
}

func TestServerMakesKey(t *testing.T) {
	t.Setenv(keyVariable, "")
	dir := filepath.Join(t.TempDir(), "a", "state")
	made, err := ServerKey("", dir)
	require.NoError(t, err)
	require.True(t, made.Created)
	require.False(t, made.Loose)
	require.Equal(t, filepath.Join(dir, "key"), made.Path)
	if runtime.GOOS != "windows" {
		require.Equal(t, os.FileMode(0o600), stat(t, made.Path).Mode().Perm())
		require.Equal(t, os.FileMode(0o700), stat(t, dir).Mode().Perm())
	}
	again, err := ServerKey("", dir)
	require.NoError(t, err)
	require.False(t, again.Created)
	require.Equal(t, made.Key.Text(), again.Key.Text())
	requireOnly(t, dir, "key")
	asClient, err := ClientKey("", dir)
	require.NoError(t, err)
	require.Equal(t, made.Key.Text(), asClient.Key.Text())
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info
}

func requireOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	require.Equal(t, names, got)
}

func TestProgramsStartedAtOnceAgree(t *testing.T) {
	t.Setenv(keyVariable, "")
	for range 20 {
		dir := filepath.Join(t.TempDir(), "state")
		const programs = 8
		var keys [programs]KeySource
		var ids [programs][16]byte
		var errs [2 * programs]error
		var all sync.WaitGroup
		for i := range programs {
			all.Go(func() { keys[i], errs[i] = ServerKey("", dir) })
			all.Go(func() { ids[i], errs[programs+i] = Identity(dir) })
		}
		all.Wait()
		created := 0
		for i := range programs {
			require.NoError(t, errs[i])
			require.NoError(t, errs[programs+i])
			require.Equal(t, keys[0].Key.Text(), keys[i].Key.Text())
			require.Equal(t, ids[0], ids[i])
			if keys[i].Created {
				created++
			}
		}
		require.Equal(t, 1, created)
		requireOnly(t, dir, "identity", "key")
	}
}

func TestLoosePermissions(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such modes")
	}
	for mode, loose := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: true, 0o604: true, 0o666: true} {
		path := filepath.Join(t.TempDir(), "key")
		writeFile(t, path, pool.NewKey().Text(), mode)
		got, err := ServerKey(path, "")
		require.NoError(t, err)
		require.Equal(t, loose, got.Loose, "%v", mode)
	}
}

func TestKeyFileForms(t *testing.T) {
	key := pool.NewKey()
	path := filepath.Join(t.TempDir(), "key")
	for _, content := range []string{key.Text(), key.Text() + "\n", key.Text() + "\r\n", "\n " + key.Text() + "\t\n"} {
		writeFile(t, path, content, 0o600)
		got, err := ClientKey(path, "")
		require.NoError(t, err)
		require.Equal(t, key.Text(), got.Key.Text())
	}
}

func TestBadKeyFiles(t *testing.T) {
	secret := pool.NewKey().Text()
	for what, c := range map[string]struct{ content, want string }{
		"empty":       {"", "it is empty"},
		"blank":       {" \n\n", "it is empty"},
		"two lines":   {secret + "\n" + secret, "it is longer than 64 bytes"},
		"padded":      {secret + "=", "it is padded"},
		"cut":         {secret[:20], "at least 16 are needed"},
		"comment":     {"# " + secret, "it contains white space"},
		"other base":  {"+" + secret[1:], "it is in base64's standard alphabet"},
		"garbage":     {"\x00\xff\x1b[31m" + secret[:30], "it is not base64url"},
		"long":        {strings.Repeat("A", 200), "it is longer than 64 bytes"},
		"a huge file": {strings.Repeat(secret, 100), "is too large"},
	} {
		t.Run(what, func(t *testing.T) {
			bothEnds(t, func(t *testing.T, find func(string, string) (KeySource, error)) {
				t.Setenv(keyVariable, "")
				dir := t.TempDir()
				path := filepath.Join(dir, "key")
				writeFile(t, path, c.content, 0o600)
				for _, given := range []string{path, ""} { // --key-file, and the state directory
					src, err := find(given, dir)
					require.ErrorContains(t, err, c.want)
					require.ErrorContains(t, err, path)
					requireClean(t, err, secret)
					require.Zero(t, src.Path)
				}
				require.FileExists(t, path, "a file that is there is never replaced")
			})
			if c.content == "" || strings.Contains(c.want, "large") {
				return
			}
			t.Setenv(keyVariable, strings.ReplaceAll(c.content, "\x00", ""))
			_, err := ClientKey("", t.TempDir())
			require.Error(t, err)
			requireClean(t, err, secret)
		})
	}
}

// requireClean holds for every error: one line, and nothing of a secret.
func requireClean(t *testing.T, err error, secret string) {
	t.Helper()
	require.NotContains(t, err.Error(), "\n")
	require.NotContains(t, err.Error(), "\x1b")
	require.NotContains(t, err.Error(), secret[1:12])
}

func TestDamagedServerKeySaysHowToMend(t *testing.T) {
	t.Setenv(keyVariable, "")
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "key"), "oops", 0o600)
	_, err := ServerKey("", dir)
	require.ErrorContains(t, err, "once that file is removed")
}

func TestKeyInsteadOfFile(t *testing.T) {
	t.Chdir(t.TempDir())
	secret := pool.NewKey().Text()
	_, err := ClientKey(secret, t.TempDir())
	require.ErrorContains(t, err, "--key-file: that is a key")
	requireClean(t, err, secret)
	writeFile(t, secret, secret, 0o600) // odd, but a file
	_, err = ClientKey(secret, t.TempDir())
	require.NoError(t, err)
}

func TestKeyFileIsNoFile(t *testing.T) {
	dir := t.TempDir()
	_, err := ServerKey(dir, dir)
	require.ErrorContains(t, err, dir+" is not a file")
	t.Setenv(keyVariable, "")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "key"), 0o700))
	_, err = ServerKey("", dir)
	require.ErrorContains(t, err, "is not a file")
	_, err = ClientKey("", dir)
	require.ErrorContains(t, err, "is not a file")
}

func TestStateDirThatCannotBe(t *testing.T) {
	t.Setenv(keyVariable, "")
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, "", 0o600)
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		_, err := ServerKey("", dir)
		require.ErrorContains(t, err, "--state-dir")
		require.NotContains(t, fmt.Sprint(err), "\n")
		_, err = Identity(dir)
		require.ErrorContains(t, err, "--state-dir")
	}
}
