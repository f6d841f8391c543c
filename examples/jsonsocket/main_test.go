package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// startPython runs testdata/server.py until the test ends. It returns the
// address, and how many connections there were.
func startPython(t *testing.T) (string, *atomic.Int64) {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	server := exec.Command(python, "testdata/server.py")
	stdin, err := server.StdinPipe()
	require.NoError(t, err)
	out, err := server.StdoutPipe()
	require.NoError(t, err)
	var failed bytes.Buffer
	server.Stderr = &failed
	require.NoError(t, server.Start())
	lines := bufio.NewReader(out)
	port, err := lines.ReadString('\n')
	accepted, ended := new(atomic.Int64), make(chan struct{})
	go func() { // ends with the server, whose output it is
		defer close(ended)
		for {
			if _, err := lines.ReadString('\n'); err != nil {
				return
			}
			accepted.Add(1)
		}
	}()
	t.Cleanup(func() {
		stdin.Close()
		<-ended
		require.NoError(t, server.Wait(), "%s", &failed)
		require.Empty(t, failed.String())
	})
	require.NoError(t, err, "%s", &failed)
	return "127.0.0.1:" + strings.TrimSpace(port), accepted
}

// TestPython: a server in the language and the manner of Blender's add-on.
func TestPython(t *testing.T) {
	address, accepted := startPython(t)
	client := newTestClient(t, Config{Server: address, Connections: 4, MaxUses: 25})
	require.NoError(t, echoes(t.Context(), client, 50))
	require.LessOrEqual(t, accepted.Load(), int64(6), "four, and two for those retired")

	result, err := client.Call(t.Context(), "get_scene_info", nil)
	require.NoError(t, err)
	require.JSONEq(t, `{"name": "Scene", "object_count": 2, "objects": ["Camera", "Cube"]}`, string(result))
	_, err = client.Call(t.Context(), "get_object_info", json.RawMessage(`{"name": "Kübel"}`))
	require.EqualError(t, err, "get_object_info: the server says: Object not found: Kübel")

	large := json.RawMessage(`"` + strings.Repeat("ä", 1<<16) + `"`)
	result, err = client.Call(t.Context(), "echo", large)
	require.NoError(t, err)
	require.JSONEq(t, string(large), string(result), "128 KiB there, three times as many back")

	client.cfg.Timeout = 50 * time.Millisecond
	_, err = client.Call(t.Context(), "sleep", json.RawMessage(`{"seconds": 0.2}`))
	require.EqualError(t, err, "sleep: no whole answer in time")
	client.cfg.Timeout = 10 * time.Second
	require.NoError(t, echoes(t.Context(), client, 50), "and nobody gets its answer")
}

func TestCommandLine(t *testing.T) {
	address, _ := startPython(t)
	brief := scripted(t, func(_ int, conn net.Conn) {
		conn.Read(make([]byte, 100))
		io.WriteString(conn, `{"status": "success"}`)
	})
	for _, c := range []struct {
		args   []string
		status int
		out    string // what it prints begins so
	}{
		{[]string{"--server", address, "get_object_info", `{"name": "Cube"}`}, 0, "{\n  \"name\": \"Cube\",\n"},
		{[]string{"--server", address, "--check", "get_scene_info", "echo"}, 0, "{}\n"},
		{[]string{"--server", address, "--times", "30", "--connections", "1", "--max-uses", "10", "get_scene_info"}, 0, "30 answers in "},
		{[]string{"--server", address, "--times", "30", "make_coffee"}, 1, "jsonsocket: make_coffee: the server says: "},
		{[]string{"--server", brief, "do_it"}, 0, ""},
		{[]string{"--server", address, "make_coffee"}, 1, "jsonsocket: make_coffee: the server says: Unknown command type: make_coffee\n"},
		{[]string{"--server", address, "--timeout", "50ms", "sleep", `{"seconds": 0.2}`}, 1, "jsonsocket: sleep: no whole answer in time\n"},
		{[]string{"--server", address, "--max-answer", "10", "get_scene_info"}, 1, "jsonsocket: get_scene_info: the answer is too large: more than 10 bytes; it begins: {\"status\":\n"},
		{[]string{"--server", "127.0.0.1:1", "x"}, 1, "jsonsocket: dial tcp 127.0.0.1:1: "},
		{[]string{"--server", address, "echo", "{"}, 2, `jsonsocket: the parameters "{" are not JSON`},
		{[]string{"--server", address, "echo", "1", "2"}, 2, `jsonsocket: too much after TYPE and JSON-PARAMS: "2"; flags go first`},
		{[]string{"--server", address}, 2, "jsonsocket: the TYPE of the request is missing"},
		{[]string{"--server", "localhost", "x"}, 2, `jsonsocket: --server "localhost" is not HOST:PORT`},
		{[]string{"--server", address, "--connections", "0", "x"}, 2, "jsonsocket: --timeout, --max-answer, --connections and --times are above 0"},
		{[]string{"--sever", address, "x"}, 2, "jsonsocket: flag provided but not defined: -sever"},
		{nil, 2, "jsonsocket: --server HOST:PORT is missing"},
		{[]string{"--help"}, 0, "usage: jsonsocket "},
		{[]string{"demo"}, 0, "A server as Blender's add-on has one listens on "},
	} {
		var out bytes.Buffer
		status := run(t.Context(), c.args, &out, &out)
		require.Equal(t, c.status, status, "%q: %s", c.args, out.String())
		require.True(t, strings.HasPrefix(out.String(), c.out), "%q: %s", c.args, out.String())
		if status != 0 {
			require.Equal(t, 1, strings.Count(out.String(), "\n"), out.String())
		}
	}
}
