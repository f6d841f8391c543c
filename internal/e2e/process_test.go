package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/testnet"
)

// patience bounds every wait for something that must come.
const patience = 20 * time.Second

// host is a machine of its own as far as state goes.
type host struct {
	t     *testing.T
	state string
	key   string             // given in TUNNEL_KEY
	net   *testnet.Namespace // nil: this machine's own network
	files int                // limit of open files; 0: as it is. Without sockets

	sockets []*os.File // handed over as systemd does; their names
	named   string
	env     []string // besides what every program gets
}

func newHost(t *testing.T, key string) host {
	return host{t: t, state: filepath.Join(t.TempDir(), "state"), key: key}
}

func (h host) command(program string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(build(h.t), program), args...)
	if h.files > 0 {
		c = exec.Command("sh", append([]string{"-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, h.files), c.Path}, args...)...)
	}
	if len(h.sockets) > 0 {
		c = exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, c.Path}, args...)...)
		c.ExtraFiles = h.sockets
	}
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(h.state), "STATE_DIRECTORY=" + h.state}
	c.Env = append(c.Env, h.env...)
	if len(h.sockets) > 0 {
		c.Env = append(c.Env, fmt.Sprintf("LISTEN_FDS=%d", len(h.sockets)), "LISTEN_FDNAMES="+h.named)
	}
	if h.key != "" {
		c.Env = append(c.Env, "TUNNEL_KEY="+h.key)
	}
	return c
}

// process is a program that runs. Its lines are those of standard output and
// standard error together.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended and all lines are in

	mu      sync.Mutex // guards what follows
	lines   []string
	changed chan struct{} // closed and replaced with every line
}

// start runs a program until the test ends at the latest.
func (h host) start(program string, args ...string) *process {
	h.t.Helper()
	r, w, err := os.Pipe()
	require.NoError(h.t, err)
	return h.startOn(r, w, program, args...)
}

// startOn takes over both files: what the program writes to w is read from r.
func (h host) startOn(r, w *os.File, program string, args ...string) *process {
	h.t.Helper()
	c := h.command(program, args...)
	c.Stdout, c.Stderr = w, w
	p := &process{t: h.t, cmd: c, ended: make(chan struct{}), changed: make(chan struct{})}
	require.NoError(h.t, h.launch(c))
	w.Close()
	go func() { // ends with the program
		defer close(p.ended)
		defer r.Close()
		p.collect(r)
		c.Wait()
	}()
	h.t.Cleanup(func() {
		c.Process.Kill()
		<-p.ended
		if h.key != "" {
			require.NotContains(h.t, p.text(), h.key, "no key in a log")
		}
		if h.t.Failed() {
			h.t.Logf("%s %s:\n%s", program, strings.Join(args, " "), p.text())
		}
	})
	return p
}

// launch starts a program that does not outlive the tests, whatever ends them.
func (h host) launch(c *exec.Cmd) error {
	dieWithTests(c)
	if h.net != nil {
		return h.net.Start(c)
	}
	return c.Start()
}

func (p *process) collect(r io.Reader) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, strings.TrimSuffix(lines.Text(), "\r"))
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// count tells how many lines contain a text.
func (p *process) count(text string) (n int) {
	for line := range strings.SplitSeq(p.text(), "\n") {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// line waits for a match in what the program has written, and returns its
// groups.
func (p *process) line(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		p.mu.Lock()
		text, changed := strings.Join(p.lines, "\n"), p.changed
		p.mu.Unlock()
		if found := re.FindStringSubmatch(text); found != nil {
			return found
		}
		select {
		case <-changed:
		case <-p.ended:
			if found := re.FindStringSubmatch(p.text()); found != nil {
				return found
			}
			require.Failf(p.t, "the program has ended", "%s is not in\n%s", pattern, p.text())
		case <-limit.C:
			require.Failf(p.t, "the line did not come", "%s is not in\n%s", pattern, p.text())
		}
	}
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(s))
}

// status waits for the end and returns the exit status, -1 after a signal.
func (p *process) status() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		require.Fail(p.t, "the program does not end", p.text())
	}
	return p.cmd.ProcessState.ExitCode()
}

// kill ends the program as a crash does, and returns when nothing is left of
// it: its sockets are closed then.
func (p *process) kill() {
	p.t.Helper()
	p.signal(os.Kill)
	p.status()
}

// stop ends the program as an administrator does, and wants a clean end.
func (p *process) stop() {
	p.t.Helper()
	p.signal(os.Interrupt)
	require.Zero(p.t, p.status())
}

// output runs a program to its end and returns what it prints.
func (h host) output(program string, args ...string) (out, errOut string, status int) {
	h.t.Helper()
	c := h.command(program, args...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	require.NoError(h.t, h.launch(c))
	err := c.Wait()
	var exit *exec.ExitError
	if err != nil {
		require.ErrorAs(h.t, err, &exit)
	}
	return stdout.String(), stderr.String(), c.ProcessState.ExitCode()
}
