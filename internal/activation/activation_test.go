package activation

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain is the program that inherits sockets too: it tells what it found.
func TestMain(m *testing.M) {
	if os.Getenv("ACTIVATION_HEIR") == "" {
		goleak.VerifyTestMain(m)
	}
	var heir heir
	for range 2 {
		sockets, err := Sockets()
		if err != nil {
			heir.Error = err.Error()
		}
		for _, s := range sockets {
			heir.Sockets = append(heir.Sockets, s.Name+" "+s.Addr().String())
			if s.Name == "greet" {
				c, err := s.Accept()
				if err == nil {
					fmt.Fprint(c, "hello")
					c.Close()
				}
			}
		}
	}
	heir.Left = os.Getenv("LISTEN_FDS") + os.Getenv("LISTEN_PID") + os.Getenv("LISTEN_FDNAMES")
	json.NewEncoder(os.Stdout).Encode(heir)
}

type heir struct {
	Sockets []string
	Left    string
	Error   string
}

// inherit runs the program with files from descriptor 3 on, and says LISTEN_PID
// is pid, where $$ is its own.
func inherit(t *testing.T, pid, count, names string, files ...*os.File) heir {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("descriptors are not inherited by number on Windows")
	}
	c := exec.Command("sh", "-c", "LISTEN_PID="+pid+` exec "$0"`, os.Args[0])
	c.Env = append(os.Environ(), "ACTIVATION_HEIR=1", "LISTEN_FDS="+count, "LISTEN_FDNAMES="+names,
		"GORACE=atexit_sleep_ms=0") // the race detector's second at every end
	c.ExtraFiles = files
	out, err := c.Output()
	require.NoError(t, err)
	var h heir
	require.NoError(t, json.Unmarshal(out, &h), "%s", out)
	return h
}

func socket(t *testing.T) (*os.File, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f, l.Addr().String()
}

// accepted is a connection that a listener took.
func accepted(t *testing.T) *os.File {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	user, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { user.Close() })
	conn, err := l.Accept()
	require.NoError(t, err)
	defer conn.Close()
	f, err := conn.(*net.TCPConn).File()
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func TestSockets(t *testing.T) {
	one, at1 := socket(t)
	two, at2 := socket(t)
	require.Equal(t, heir{Sockets: []string{"tunnel " + at1, "web " + at2}}, inherit(t, "$$", "2", "tunnel:web", one, two))
	require.Equal(t, heir{Sockets: []string{" " + at1}}, inherit(t, "$$", "1", "", one))
}

// TestUsersWait: who connects before the program runs is served by it.
func TestUsersWait(t *testing.T) {
	f, at := socket(t)
	c, err := net.Dial("tcp", at)
	require.NoError(t, err)
	defer c.Close()
	inherit(t, "$$", "1", "greet", f)
	greeting := make([]byte, 5)
	_, err = c.Read(greeting)
	require.NoError(t, err)
	require.Equal(t, "hello", string(greeting))
}

func TestNoSockets(t *testing.T) {
	f, _ := socket(t)
	require.Equal(t, heir{}, inherit(t, "1", "1", "tunnel", f), "they are another process's")
	require.Equal(t, heir{}, inherit(t, "", "", ""))
}

func TestWrongSockets(t *testing.T) {
	f, _ := socket(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	accepted := accepted(t)
	for _, tt := range []struct {
		count, names string
		files        []*os.File
		why          string
	}{
		{"2", "a:pipe", []*os.File{f, r}, `socket 2 ("pipe")`},
		{"1", "user", []*os.File{accepted}, `socket 1 ("user") of LISTEN_FDS: 127.0.0.1:`},
		{"1", "user", []*os.File{accepted}, `does not listen; a socket unit must not say Accept=yes`},
		{"many", "", nil, `LISTEN_FDS="many"`},
		{"-1", "", nil, `LISTEN_FDS="-1"`},
		{"5000", "", nil, `LISTEN_FDS="5000"`},
	} {
		h := inherit(t, "$$", tt.count, tt.names, tt.files...)
		require.Empty(t, h.Sockets)
		require.True(t, strings.Contains(h.Error, tt.why), h.Error)
		require.Empty(t, h.Left)
	}
}
