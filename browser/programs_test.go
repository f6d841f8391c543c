package browser

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// build makes the two programs of the module beside this one.
func build(t *testing.T) (server, client string) {
	t.Helper()
	dir := t.TempDir()
	c := exec.Command("go", "build", "-o", dir, "./cmd/tunnel-server", "./cmd/tunnel-client")
	c.Dir = ".."
	c.Env = append(os.Environ(), "CGO_ENABLED=0") // as released
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return filepath.Join(dir, "tunnel-server"), filepath.Join(dir, "tunnel-client")
}

// process is a program that runs.
type process struct {
	cmd  *exec.Cmd
	log  bytes.Buffer // read after its end only
	once sync.Once
}

// start runs a program until the test ends, and tells what it said if that failed.
func start(t *testing.T, key, path string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(path, args...)}
	p.cmd.Env = append(os.Environ(), "TUNNEL_KEY="+key)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(path), p.log.String())
		}
	})
	return p
}

// kill ends the program as a crash does.
func (p *process) kill() {
	p.once.Do(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
}

// free is an address on loopback that nobody listens at.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func port(t *testing.T, address string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(address)
	require.NoError(t, err)
	return p
}

// load is users of a service, each on a connection of its own, who come one after
// the other until stop.
func load(t *testing.T, address string, users int) (stop func()) {
	ended := make(chan struct{})
	var all sync.WaitGroup
	transport := &http.Transport{DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	for range users {
		all.Go(func() { // ends with stop
			for {
				res, err := client.Get("http://" + address + "/")
				if err == nil {
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
				select {
				case <-ended:
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	stop = sync.OnceFunc(func() {
		close(ended)
		all.Wait()
		transport.CloseIdleConnections()
	})
	t.Cleanup(stop)
	return stop
}

// moving waits until a plot has drawn at least so many seconds with a value above
// 0, by where its line is: y grows downwards. Series count in the order they are painted.
func (p *tab) moving(plot string, series, seconds int) {
	p.t.Helper()
	p.until(fmt.Sprintf(`(() => {
		const d = document.querySelectorAll("#%s .lines .line")[%d]?.getAttribute("d") ?? "";
		const ys = [...d.matchAll(/[ML]([\d.]+) ([\d.]+)/g)].map((m) => Number(m[2]));
		const floor = Number(document.querySelector("#%s .grid .base").getAttribute("y1"));
		return ys.filter((y) => y < floor - 3).length >= %d;
	})()`, plot, series, plot, seconds))
}

// TestPageOfThePrograms is the whole: a server and two clients with users, a
// client that crashes and comes back, and a server that does.
func TestPageOfThePrograms(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a crash is caused by a signal")
	}
	if _, err := find(); err != nil {
		t.Skip(err)
	}
	serverPath, clientPath := build(t)
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	key := base64.RawURLEncoding.EncodeToString(secret)

	body := bytes.Repeat([]byte("the tunnel carries this. "), 2000)
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(body) }))
	defer target.Close()
	targetPort := port(t, target.Listener.Addr().String())

	tunnel, admin, clientAdmin := free(t), free(t), free(t)
	web, wiki, git := free(t), free(t), free(t)
	runServer := func(dir string) *process {
		return start(t, key, serverPath, "--listen", tunnel, "--bind", "127.0.0.1", "--admin", admin, "--state-dir", dir, "--heartbeat", "500ms")
	}
	runClient := func(dir, name string, more ...string) *process {
		return start(t, key, clientPath, append([]string{"--server", tunnel, "--state-dir", dir, "--name", name, "--heartbeat", "500ms"}, more...)...)
	}
	publish := func(name, public string) string { return name + "=" + port(t, public) + ":" + targetPort }
	serverDir, piDir, labDir := t.TempDir(), t.TempDir(), t.TempDir()
	server := runServer(serverDir)
	runClient(piDir, "pi", "--admin", clientAdmin, "-R", publish("web", web), "-R", publish("wiki", wiki))
	lab := runClient(labDir, "lab", "-R", publish("git", git))

	awaitPage(t, admin)
	awaitPage(t, clientAdmin)
	p := newTab(t)
	p.open("http://" + admin)
	p.untilSays("Everything is up: 3 services, 2 clients, no users.")
	c := newTab(t)
	c.open("http://" + clientAdmin)
	c.untilSays("Connected to " + tunnel + ": 2 services, no users.")
	before := value[string](p, drawn)

	stopWeb, stopGit := load(t, web, 6), load(t, git, 2)
	p.moving("throughput", 0, 15)
	p.moving("throughput", 1, 15)
	p.moving("connections", 0, 15)
	p.moving("latency", 1, 10)
	p.until(`document.querySelector("#latency .value").textContent.endsWith("ms")`)
	p.until(`[...document.querySelectorAll("#services tbody tr")].filter((r) => /[kM]B\/s/.test(r.innerText)).length === 2`)
	c.moving("throughput", 0, 10)
	// The one without users lies on the line of the other, which is what is to be seen.
	require.Equal(t, "c1", value[string](c, `[...document.querySelectorAll("#throughput .lines .line")].at(-1).classList[1]`))
	require.NotEqual(t, before, value[string](p, drawn))
	for _, scheme := range []string{"light", "dark"} {
		p.look(1280, 900, scheme)
		p.keep("real-server-desktop-" + scheme)
		p.look(360, 740, scheme)
		p.fits()
		p.keep("real-server-360px-" + scheme)
		c.look(1280, 900, scheme)
		c.keep("real-client-desktop-" + scheme)
	}
	p.look(1280, 900, "light")
	stopGit()

	lab.kill()
	p.untilSays("git of lab has been down since ")
	p.keep("real-client-lost-desktop-light")
	runClient(labDir, "lab", "-R", publish("git", git))
	p.untilSays("Everything is up: 3 services, 2 clients,")
	stopWeb()
	p.clean("http://" + admin)
	c.clean("http://" + clientAdmin)

	server.kill()
	p.untilSays("tunnel-server has not answered since ")
	c.untilSays("Not connected to " + tunnel + " since ")
	c.keep("real-server-lost-desktop-light")
	runServer(serverDir)
	p.untilSays("Everything is up: 3 services, 2 clients,")
	c.untilSays("Connected to " + tunnel + ": 2 services,")
}

// awaitPage waits until a program listens.
func awaitPage(t *testing.T, address string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	require.Eventually(t, func() bool {
		res, err := client.Get("http://" + address + "/")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	}, patience, 20*time.Millisecond)
}
