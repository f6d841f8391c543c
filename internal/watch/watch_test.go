package watch

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func small(path string) ([]byte, error) { return Bounded(path, 10) }

// TestFiles: what has come to rest is told once, with what the other files hold.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	synctest.Test(t, func(t *testing.T) {
		write := func(name, text string) { require.NoError(t, os.WriteFile(at(name), []byte(text), 0o600)) }
		write("a", "a1")
		write("b", "b1")
		var mu sync.Mutex // guards what follows
		var told []string
		list := []File{{Path: at("a"), Read: small, Known: Content{Data: "a1"}}, {Path: at("b"), Read: small, Known: Content{Data: "b1"}}}
		now := make(chan os.Signal)
		go Files(t.Context(), func() []File { // ends with the test
			mu.Lock()
			defer mu.Unlock()
			return list
		}, now, func(contents map[string]Content) {
			mu.Lock()
			defer mu.Unlock()
			text := ""
			for _, name := range []string{"a", "b", "c"} {
				if c, ok := contents[at(name)]; ok && c.Err != nil {
					text += "error "
				} else if ok {
					text += c.Data + " "
				}
			}
			told = append(told, strings.TrimSpace(text))
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
		write("a", "a2")
		pass(450*time.Millisecond, "a2 b1")

		write("a", "a3") // a pair: the second follows without a pause
		pass(150 * time.Millisecond)
		write("b", "b3")
		pass(600*time.Millisecond, "a3 b3")

		write("a", "too long for it")
		pass(450*time.Millisecond, "error b3")
		require.NoError(t, os.Remove(at("a")))
		pass(450*time.Millisecond, "error b3")
		write("a", "a4")
		pass(450*time.Millisecond, "a4 b3")

		now <- nil // tells at once, and whether there is news or not
		pass(0, "a4 b3")
		write("b", "b5")
		now <- nil
		pass(0, "a4 b5")
		pass(time.Second)

		mu.Lock()
		write("c", "c1")
		list = []File{list[1], {Path: at("c"), Read: small}}
		mu.Unlock()
		pass(450*time.Millisecond, "b5 c1")
		write("a", "a6")
		pass(time.Second)
	})
}

// TestLink: what a link leads to is followed, and the link when it leads elsewhere,
// as those of a Kubernetes volume.
func TestLink(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"v1", "v2"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name, "f"), []byte(name), 0o600))
	}
	if err := os.Symlink("v1", filepath.Join(dir, "data")); err != nil {
		t.Skip("no links here: ", err) // Windows wants a right for them
	}
	path := filepath.Join(dir, "data", "f")
	told := make(chan string, 1)
	go Files(t.Context(), func() []File { // ends with the test
		return []File{{Path: path, Read: small, Known: Content{Data: "v1"}}}
	}, nil, func(now map[string]Content) { told <- now[path].Data })
	require.NoError(t, os.Symlink("v2", filepath.Join(dir, "new")))
	require.NoError(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "data")))
	require.Equal(t, "v2", <-told)
}

// TestNoFile: a pipe is not read, for it would be emptied; the program has done so
// once.
func TestNoFile(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	path := "/dev/fd/" + strconv.Itoa(int(r.Fd()))
	if info, err := os.Stat(path); err != nil || info.Mode().IsRegular() {
		t.Skip("this system has no /dev/fd")
	}
	read := func(string) ([]byte, error) { panic("it is read") }
	followed := make(map[string]*follower)
	require.False(t, look(followed, []File{{Path: path, Read: read}}, false))
	require.True(t, look(followed, []File{{Path: path, Read: read}}, true), "what is demanded is told, and not read")
}
