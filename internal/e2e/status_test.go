package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// asked is the answer to a GET.
func asked(t *testing.T, url string) (code int, body string) {
	t.Helper()
	r, err := http.Get(url)
	require.NoError(t, err)
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return r.StatusCode, string(data)
}

const adminAt = `Status page and metrics: (http://\S+)/`

// TestStatus does what docs/MONITORING.md says with both programs.
func TestStatus(t *testing.T) {
	t.Parallel()
	at := newHost(t, "")
	server := at.start("tunnel-server", "--listen", "127.0.0.1:0", "--bind", "127.0.0.1", "--admin", "127.0.0.1:0", "--pprof", "--drain", "10s")
	address := server.line(listening)[1]
	api := server.line(adminAt)[1]
	key := strings.TrimSpace(at.prints("tunnel-server", "key", "show"))
	target := newHalves(t)
	from := newHost(t, key)
	client := from.start("tunnel-client", "--server", address, "--name", "pi", "-R", "web=0:"+target.address, "-R", "low=1:"+target.address, "--admin", "127.0.0.1:0")
	clientAPI := client.line(adminAt)[1]
	public := client.line(`Service "web" is up: (\S+) leads to`)[1]
	client.line(`Service "low" is not up`)
	user(t, public)

	// Both tell who is ready, and why not.
	code, text := asked(t, api+"/readyz")
	require.Equal(t, 200, code, text)
	code, text = asked(t, clientAPI+"/readyz")
	require.Equal(t, 503, code)
	require.Contains(t, text, `"low" is not up: port 1 is not among`)
	code, _ = asked(t, clientAPI+"/healthz")
	require.Equal(t, 200, code)
	code, text = asked(t, api+"/metrics")
	require.Equal(t, 200, code)
	require.Contains(t, text, `tunnelpool_service_open_streams{client="pi",kind="service",network="tcp",service="web"} 1`)
	require.Contains(t, text, "process_open_fds")
	require.NotContains(t, text, key)
	code, text = asked(t, api+"/")
	require.Equal(t, 200, code)
	require.Contains(t, text, "<html")
	code, _ = asked(t, api+"/debug/pprof/goroutine?debug=1")
	require.Equal(t, 200, code)
	code, _ = asked(t, clientAPI+"/debug/pprof/goroutine?debug=1")
	require.Equal(t, 404, code, "only with --pprof")
	require.Eventually(t, func() bool {
		_, text := asked(t, api+"/api/v1/history")
		var h struct{ Samples []struct{ Open int } }
		return json.Unmarshal([]byte(text), &h) == nil && len(h.Samples) > 0 && h.Samples[0].Open == 1
	}, patience, 100*time.Millisecond)

	// The command, plain and as JSON, says the same as the address.
	out := at.prints(shown(t, "MONITORING.md", "tunnel-server status")...)
	require.Regexp(t, `(?m)^pi +web +up +127\.0\.0\.1:\d+ +1 `, out)
	require.NotContains(t, out, "\x1b")
	require.NotContains(t, out, key)
	var told, there map[string]any
	require.NoError(t, json.Unmarshal([]byte(at.prints("tunnel-server", "status", "--json")), &told))
	_, text = asked(t, api+"/api/v1/status")
	require.NoError(t, json.Unmarshal([]byte(text), &there))
	require.NotContains(t, text, key)
	require.Equal(t, there["sessions"].([]any)[0].(map[string]any)["address"], told["sessions"].([]any)[0].(map[string]any)["address"])
	out = from.prints("tunnel-client", "status")
	require.Contains(t, out, `not ready: "low" is not up`)
	require.Regexp(t, `(?m)^web +up `, out)

	// What is not there is said in a line.
	elsewhere := newHost(t, "")
	_, errOut, status := elsewhere.output("tunnel-client", "status")
	require.Equal(t, 1, status)
	require.Equal(t, "tunnel-client: "+filepath.Join(elsewhere.state, "tunnel-client.sock")+": nothing answers there; start the program, or name its directory with --state-dir\n", errOut)

	// While the server drains it is not ready; its socket goes with it.
	socket := filepath.Join(at.state, "tunnel-server.sock")
	info, err := os.Lstat(socket)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	server.signal(os.Interrupt)
	server.line(`Stopping: 1 streams have`)
	code, text = asked(t, api+"/readyz")
	require.Equal(t, 503, code)
	require.Equal(t, "the server is stopping\n", text)
	require.Contains(t, at.prints("tunnel-server", "status"), "not ready: the server is stopping")
	server.signal(os.Kill)
	server.status()
	require.FileExists(t, socket, "it was killed")

	again := at.start("tunnel-server", "--listen", address, "--bind", "127.0.0.1")
	again.line(listening)
	require.Contains(t, at.prints("tunnel-server", "status"), ", ready\n")
	again.stop()
	require.NoFileExists(t, socket)
}

// TestWatch: on a terminal the view is redrawn in place, in colour unless NO_COLOR
// is set, if the terminal is not a dumb one, and Ctrl-C is its good end; elsewhere it is printed again and again.
func TestWatch(t *testing.T) {
	t.Parallel()
	at := newHost(t, "")
	server := at.start("tunnel-server", "--listen", "127.0.0.1:0", "--bind", "127.0.0.1")
	server.line(listening)
	reader, screen := openTerminal(t)
	watch := at.startOn(reader, screen, "tunnel-server", "status", "--watch")
	watch.line(`\x1b\[\?1049h[\s\S]*\x1b\[1mtunnel-server\x1b\[0m`)
	require.Eventually(t, func() bool { return strings.Count(watch.text(), "\x1b[H") >= 2 }, patience, 50*time.Millisecond)
	watch.stop()
	require.Contains(t, watch.text(), "\x1b[?1049l", "the terminal is as it was")

	plain := at
	plain.env = append(plain.env, "NO_COLOR=1")
	reader, screen = openTerminal(t)
	once := plain.startOn(reader, screen, "tunnel-server", "status")
	require.Zero(t, once.status())
	require.NotContains(t, once.text(), "\x1b")
	require.Regexp(t, `^tunnel-server up \S+, ready\r?\n`, once.text(), "80 columns are enough for what matters")

	dumb := at
	dumb.env = append(dumb.env, "TERM=dumb")
	reader, screen = openTerminal(t)
	below := dumb.startOn(reader, screen, "tunnel-server", "status", "--watch")
	require.Eventually(t, func() bool { return below.count("tunnel-server up") >= 2 }, patience, 50*time.Millisecond)
	below.stop()
	require.NotContains(t, below.text(), "\x1b")

	lines := at.start("tunnel-server", "status", "--watch")
	require.Eventually(t, func() bool { return lines.count("tunnel-server ") >= 2 }, patience, 50*time.Millisecond)
	lines.stop()
	require.NotContains(t, lines.text(), "\x1b")
	each := at.start("tunnel-server", "status", "--watch", "--json")
	each.line(`(?s)(\{"program":"tunnel-server".*\n){2}`)
	each.stop()
	for line := range strings.SplitSeq(each.text(), "\n") {
		require.True(t, json.Valid([]byte(line)), line)
	}

	// The server goes and comes back: who watches sees it.
	reader, screen = openTerminal(t)
	watch = at.startOn(reader, screen, "tunnel-server", "status", "--watch")
	watch.line(`ready`)
	server.stop()
	watch.line(`nothing answers there`)
	before := len(regexp.MustCompile(`up \d+s`).FindAllString(watch.text(), -1))
	at.start("tunnel-server", "--listen", "127.0.0.1:0", "--bind", "127.0.0.1").line(listening)
	require.Eventually(t, func() bool { return len(regexp.MustCompile(`up \d+s`).FindAllString(watch.text(), -1)) > before }, patience, 50*time.Millisecond)
	watch.stop()
}

// TestOneStateDirectoryForTwo: who comes second leaves the first one's socket alone.
func TestOneStateDirectoryForTwo(t *testing.T) {
	t.Parallel()
	at := newHost(t, "")
	first := at.start("tunnel-server", "--listen", "127.0.0.1:0", "--bind", "127.0.0.1")
	first.line(listening)
	second := at.start("tunnel-server", "--listen", "127.0.0.1:0", "--bind", "127.0.0.1")
	second.line(`WARN +no control socket ` + filepath.Join(at.state, "tunnel-server.sock") + `: another running program has it`)
	second.line(listening)
	third := at.start("tunnel-server", "--listen", "127.0.0.1:0", "--bind", "127.0.0.1")
	third.line(`WARN +no control socket `)
	second.stop()
	beside := at.start("tunnel-client", "--server", first.line(listening)[1], "-R", "0:1")
	beside.line(`Service "localhost:1" is up`)
	require.Zero(t, beside.count("WARN"), "a client has a socket of its own")
	require.Contains(t, at.prints("tunnel-client", "status"), "tunnel-client")
	require.Contains(t, at.prints("tunnel-server", "status"), "ready")
	require.Contains(t, at.prints("tunnel-server", "key", "revoke", "default"), "The running server has ended its connections.")
	first.line(`no client is let in`)
	first.stop()
	third.line(`The control socket is free`)
	require.Contains(t, at.prints("tunnel-server", "status"), third.line(listening)[1])
	third.stop()
	require.Contains(t, at.prints("tunnel-server", "key", "revoke", "default"), "No server was found running")
}

// TestAdminMistakes: one line each, before anything is started.
func TestAdminMistakes(t *testing.T) {
	t.Parallel()
	at := newHost(t, newKey())
	for _, c := range []struct{ args, want string }{
		{"--admin 10102", `--admin "10102": want HOST:PORT, as in 127.0.0.1:10102`},
		{"--pprof", "--pprof is for the address of --admin, which is missing"},
		{"--admin 192.0.2.1:0", "--admin: listen tcp 192.0.2.1:0: bind: cannot assign requested address"},
	} {
		_, errOut, status := at.output("tunnel-server", append([]string{"--listen", "127.0.0.1:0"}, strings.Fields(c.args)...)...)
		require.Equal(t, 2, status, c.args)
		require.Contains(t, errOut, c.want)
		require.Equal(t, 1, strings.Count(errOut, "\n"), errOut)
	}
	require.NoDirExists(t, at.state)
	open := at.start("tunnel-server", "--listen", "127.0.0.1:0", "--bind", "127.0.0.1", "--admin", ":0")
	open.line(`WARN +--admin :0: whoever reaches this address sees the status`)
	open.stop()
}
