package keyfile

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/tunnel"
)

func grant(name string, key pool.Key) Entry {
	return Entry{Grant: tunnel.Grant{Name: name, Key: key}}
}

func contentAt(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

// TestAddAndRevoke: what is added can be read, and revoking restores the file.
func TestAddAndRevoke(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", Name)
	found, err := Revoke(path, "anna")
	require.NoError(t, err)
	require.False(t, found)
	require.NoDirExists(t, filepath.Dir(path))

	anna := Entry{Grant: tunnel.Grant{Name: "anna", Key: keyA, Ports: "8000-8099,8443", Forwards: "db:5432,*:443,[::1]:*", MaxStreams: 7, Rate: 6_250_000}}
	require.NoError(t, Add(path, anna))
	alone := contentAt(t, path)
	require.True(t, strings.HasPrefix(alone, "# The keys of"))
	if runtime.GOOS != "windows" {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.EqualValues(t, 0o600, info.Mode().Perm())
	}
	f, err := Read(path)
	require.NoError(t, err)
	require.Len(t, f.Entries, 1)
	require.True(t, same(anna, f.Entries[0]))

	require.NoError(t, Add(path, grant("ben", keyB)))
	err = Add(path, grant("ben", pool.NewKey()))
	require.ErrorContains(t, err, `there is a key "ben" already, in line `)
	require.ErrorContains(t, err, path)
	found, err = Revoke(path, "ben")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, alone, contentAt(t, path))
	found, err = Revoke(path, "anna")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, header, contentAt(t, path))

	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 2, "the file and its lock")
}

// TestWhatAPersonWroteStays: comments, order, layout and quotes.
func TestWhatAPersonWroteStays(t *testing.T) {
	const before = "# My own words.\n\nzoe:   # the one in Lyon\n    key: {A}\n\n\n    ports: [80,   81] # two\n\n# Ben's laptop\n# since May\nben:\n  key: '{B}'\n# the end"
	path := filepath.Join(t.TempDir(), Name)
	require.NoError(t, os.WriteFile(path, []byte(withKeys(before)), 0o600))
	key := pool.NewKey()
	require.NoError(t, Add(path, grant("anna", key)))
	require.Equal(t, withKeys(before)+"\nanna:\n  key: "+key.Text()+"\n", contentAt(t, path))
	_, err := Revoke(path, "ben")
	require.NoError(t, err)
	require.Equal(t, withKeys(before[:strings.Index(before, "# Ben's")])+"# the end\nanna:\n  key: "+key.Text()+"\n", contentAt(t, path))
}

func TestRevokeDefault(t *testing.T) {
	for before, after := range map[string]string{
		"":                                      header + "default:\n  off: true\n",
		"default:":                              "default:\n  off: true\n",
		"default:\n    # mine\n    ports: 80\n": "default:\n    off: true\n    # mine\n    ports: 80\n",
		"default: {off: true}\n":                "default: {off: true}\n",
	} {
		path := filepath.Join(t.TempDir(), Name)
		require.NoError(t, os.WriteFile(path, []byte(before), 0o600))
		found, err := Revoke(path, Default)
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, after, contentAt(t, path))
	}
}

// TestFormThatIsNotChanged: rather nothing than something else.
func TestFormThatIsNotChanged(t *testing.T) {
	for _, before := range []string{"{anna: {key: {A}}}", "{anna: {key: {A}}, ben: {key: {B}}}", "default: {ports: 80}\nanna:\n  key: {A}"} {
		path := filepath.Join(t.TempDir(), Name)
		require.NoError(t, os.WriteFile(path, []byte(withKeys(before)), 0o600))
		_, err := Revoke(path, Default)
		require.ErrorContains(t, err, "please edit it by hand")
		require.Equal(t, withKeys(before), contentAt(t, path))
	}
	path := filepath.Join(t.TempDir(), Name)
	require.NoError(t, os.WriteFile(path, []byte("anna:\n  prots: 1\n"), 0o600))
	require.ErrorContains(t, Add(path, grant("ben", keyB)), path+`, line 2: anna: unknown field "prots"; is "ports" meant?`)
}

// TestManyAddAtOnce: of commands that run at the same time none is lost.
func TestManyAddAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if err := Add(path, grant(fmt.Sprintf("k%d", i), pool.NewKey())); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	f, err := Read(path)
	require.NoError(t, err)
	require.Len(t, f.Entries, 20)
}

// TestWatch: what is written is told within half a second, and what is being
// written is not.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, Name)
		anna, both := withKeys("anna:\n  key: {A}\n"), withKeys("anna:\n  key: {A}\nben:\n  key: {B}\n")
		write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
		write(anna)
		known, err := Read(path)
		require.NoError(t, err)
		var mu sync.Mutex
		var told []string
		go Watch(t.Context(), path, known, func(f File, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				told = append(told, err.Error())
				return
			}
			names := ""
			for _, e := range f.Entries {
				names += e.Name + " "
			}
			told = append(told, names)
		})
		pass := func(d time.Duration, want ...string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			require.Equal(t, want, told)
			told = nil
		}
		pass(time.Second)
		write(both)
		pass(450*time.Millisecond, "anna ben ")
		write(both)
		pass(time.Second) // nothing new in it

		require.NoError(t, os.WriteFile(path+"x", []byte(anna), 0o600))
		require.NoError(t, os.Chtimes(path+"x", time.Time{}, time.Unix(1, 0)))
		require.NoError(t, os.Rename(path+"x", path))
		pass(450*time.Millisecond, "anna ")

		write("") // an editor that empties the file before it writes
		pass(210 * time.Millisecond)
		write(both)
		pass(450*time.Millisecond, "anna ben ")

		write("anna:\n  key: x\n")
		pass(time.Second, path+", line 2: anna: malformed key: it is not base64url; `tunnel-server key show` prints a good one")
		write(anna)
		pass(time.Second, "anna ")
		require.NoError(t, os.Remove(path))
		pass(time.Second, "")
		require.NoError(t, os.Mkdir(path, 0o700))
		time.Sleep(time.Second)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, told, 1)
		require.Contains(t, told[0], path)
	})
}
