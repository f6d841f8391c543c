package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// configFile is a program's configuration file.
type configFile struct {
	t    *testing.T
	path string
}

func newConfigFile(t *testing.T, text string) configFile {
	t.Helper()
	f := configFile{t, filepath.Join(t.TempDir(), "conf.yaml")}
	f.write(text)
	return f
}

// write puts another file in the place of the one that is there.
func (f configFile) write(text string) {
	f.t.Helper()
	aside := f.path + ".new"
	require.NoError(f.t, os.WriteFile(aside, []byte(text), 0o600))
	require.NoError(f.t, os.Rename(aside, f.path))
}

// flow is a user who sends without a pause to a target that sends it back, and
// checks that what comes is what went.
type flow struct {
	conn  net.Conn
	stop  atomic.Bool
	came  atomic.Int64 // bytes
	ended chan error   // one
	sent  [sha256.Size]byte
	got   [sha256.Size]byte
}

func startFlow(t *testing.T, address string) *flow {
	t.Helper()
	c, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	f := &flow{conn: c, ended: make(chan error, 1)}
	written := make(chan error, 1)
	go func() { // ends with stop, or its connection
		hash, chunk := sha256.New(), make([]byte, 1024)
		var err error
		for err == nil && !f.stop.Load() {
			rand.Read(chunk)
			hash.Write(chunk)
			_, err = c.Write(chunk)
			time.Sleep(5 * time.Millisecond) // its pace, so that a hundred of them leave room
		}
		if err == nil {
			err = c.(*net.TCPConn).CloseWrite()
		}
		hash.Sum(f.sent[:0])
		written <- err
	}()
	go func() { // ends when both directions have
		hash, buf := sha256.New(), make([]byte, 4096)
		var err error
		for err == nil {
			var n int
			n, err = c.Read(buf)
			hash.Write(buf[:n])
			f.came.Add(int64(n))
		}
		hash.Sum(f.got[:0])
		if err == io.EOF {
			err = nil
		}
		if writeErr := <-written; err == nil {
			err = writeErr
		}
		f.ended <- err
	}()
	return f
}

// flowsOn waits until every flow has got something more.
func flowsOn(t *testing.T, flows []*flow) {
	t.Helper()
	for _, f := range flows {
		before := f.came.Load()
		require.Eventually(t, func() bool { return f.came.Load() > before || len(f.ended) > 0 }, patience, time.Millisecond)
		require.Empty(t, f.ended, "it goes on")
	}
}

// finish ends all flows and wants each to have got what it sent.
func finish(t *testing.T, flows []*flow) {
	t.Helper()
	for _, f := range flows {
		f.stop.Store(true)
	}
	for _, f := range flows {
		require.NoError(t, soon(t, f.ended))
		require.Equal(t, f.sent, f.got)
		require.Positive(t, f.came.Load())
	}
}

// echo is a target that sends back what it gets, to the end.
func echo(t *testing.T) (address string) {
	l := listenHere(t)
	serve(t, l, func(c net.Conn) { io.Copy(c, c) })
	return l.Addr().String()
}

const (
	publicOf  = `"%" is up: (\S+) leads to`
	unchanged = `The configuration was read again: nothing of it has changed`
)

// public is the public address of a client's service.
func (p *process) public(service string) string {
	p.t.Helper()
	return p.line(strings.ReplaceAll(publicOf, "%", service))[1]
}

// TestReloadLeavesStreams: services come and go, and a hundred streams run on, those
// of a service that goes too.
func TestReloadLeavesStreams(t *testing.T) {
	for how, reload := range map[string]func(configFile, *process, string){
		"by the file": func(f configFile, _ *process, text string) { f.write(text) },
		"by SIGHUP": func(f configFile, p *process, text string) {
			p.signal(syscall.SIGHUP)
			p.line(unchanged)
			f.write(text)
			p.signal(syscall.SIGHUP)
		},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			target := echo(t)
			_, address, key := startServer(t)
			config := "server: " + address + "\nreverse:\n  stays: 0:" + target + "\n"
			file := newConfigFile(t, config+"  goes: 0:"+target+"\n")
			client := newHost(t, key).start("tunnel-client", "--config", file.path)
			stays, goes := client.public("stays"), client.public("goes")
			var flows []*flow
			for range 70 {
				flows = append(flows, startFlow(t, stays))
			}
			for range 30 {
				flows = append(flows, startFlow(t, goes))
			}
			flowsOn(t, flows)

			reload(file, client, config+"  comes: 0:"+web(t, "a page")+"\npool-min: 16\n")
			client.line(`The configuration has changed: services comes added, goes removed; pool-min`)
			require.Equal(t, "a page", fetch(t, client.public("comes")))
			refuses(t, goes)
			flowsOn(t, flows)
			late := startFlow(t, stays)
			flowsOn(t, []*flow{late})
			finish(t, append(flows, late))
			client.stop()
		})
	}
}

// TestInvalidReload: nothing changes, and one line says why.
func TestInvalidReload(t *testing.T) {
	t.Parallel()
	_, address, key := startServer(t)
	good := "server: " + address + "\nreverse: {a: 0:" + web(t, "a page") + "}\n"
	file := newConfigFile(t, good)
	client := newHost(t, key).start("tunnel-client", "--config", file.path)
	public := client.public("a")
	for text, want := range map[string]string{
		"server: " + address + "\nreverse: {b: 0:x}\n": file.path + `:2: reverse "b=0:x": the target port "x" is not a number`,
		good + "pol-min: 3\n":                          file.path + `:3: unknown setting "pol-min"; did you mean "pool-min"\?`,
		"":                                             file.path + ` is empty; write settings into it, or a comment if there are to be none`,
		good + "log-level: loud\n":                     file.path + `:3: log-level "loud": want debug, info, warn, error or none`,
		good + "key-file: nx\n":                        file.path + `:3: key-file: stat \S+/nx: no such file or directory`,
		good + "forward: {f: 1.2.3.4:0:db:1}\n":        file.path + `:3: forward: listen tcp 1.2.3.4:0: bind: `,
	} {
		file.write(text)
		client.line(`WARN +` + want + `.*; the configuration stays as it was`)
		require.Equal(t, "a page", fetch(t, public), "%q", text)
	}
	require.NoError(t, os.Remove(file.path))
	client.line(`WARN +open \S+: no such file or directory; the configuration stays as it was`)
	file.write(good)
	client.line(unchanged)
	require.Equal(t, "a page", fetch(t, public))
	require.Equal(t, 1, client.count(" is up: "), "the service is what it was")

	// What needs a restart is told, and the rest applied.
	file.write(good + "log-format: json\nlog-level: warn\n")
	client.line(`The configuration has other values for what needs a restart: log-format`)
	client.stop()
}

// TestHangupWithoutFile: there is nothing to read again, and the terminal is gone.
func TestHangupWithoutFile(t *testing.T) {
	t.Parallel()
	_, address, key := startServer(t)
	client := startClient(t, key, address, "-R", "0:"+web(t, "a page"))
	client.line(`is up: (\S+) leads to`)
	client.signal(syscall.SIGHUP)
	require.Equal(t, -1, client.status())
}

// TestClientTakesAll: of a client's settings all but two hold at once.
func TestClientTakesAll(t *testing.T) {
	t.Parallel()
	_, address, key := startServer(t, "--allow-forward", "127.0.0.1:*")
	base := "server: " + address + "\nreverse: {web: 0:" + web(t, "a page") + "}\n"
	pi := place{t, t.TempDir()}
	pi.put("conf.yaml", []byte(base))
	pi.put("key", []byte(key))
	client := newHost(t, key).start("tunnel-client", "--config", pi.path("conf.yaml"))
	client.public("web")
	pi.put("conf.yaml", []byte(base+`
forward: {back: 0:`+web(t, "the server's")+`}
connect-timeout: 9s
health: tcp
health-interval: 9s
allow-from: 127.0.0.0/8
rate: 50Mbit
max-streams-per-service: 90
name: pi
key-file: key
pool-min: 20
pool-max: 400
pool-min-interval: 90ms
pool-max-interval: 900ms
carriers: 1
max-streams: 900
keepalive: 29s
heartbeat: 4s
drain: 9s
log-level: debug
`))
	client.line(`The configuration has changed: services web changed; forwards back added; name, key-file, pool-min, pool-max, pool-min-interval, pool-max-interval, carriers, max-streams, keepalive, heartbeat, drain, log-level`)
	require.Equal(t, "the server's", fetch(t, client.line(`(127\.0\.0\.1:\d+) leads to 127\.0\.0\.1:\d+ at the server`)[1]))
	require.Equal(t, "a page", fetch(t, client.public("web")))
	require.Zero(t, client.count("needs a restart"))
	pi.put("conf.yaml", []byte(base+"state-dir: other\nlog-format: json\n"))
	client.line(`needs a restart: state-dir, log-format`)
}
