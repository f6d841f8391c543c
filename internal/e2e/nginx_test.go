package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// nginx is a real one, with one server.
type nginx struct {
	t            *testing.T
	dir          string
	port, socket string // where it listens; one of them is empty
	cmd          *exec.Cmd
	log          *os.File
}

const nginxConf = `daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events { worker_connections 512; }
http {
  access_log %[1]s/access.log;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  server { listen %[2]s; %[3]s }
}
`

// startNginx runs one until the test ends, and waits until it listens. options
// are those of its listen directive; with "unix" it is on a Unix socket.
func startNginx(t *testing.T, options, server string) *nginx {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed")
	}
	dir, err := os.MkdirTemp("", "nginx-") // a test's own has too long a name for a socket
	require.NoError(t, err)
	n := &nginx{t: t, dir: dir}
	var listen string
	if options == "unix" {
		n.socket = filepath.Join(dir, "s")
		listen = "unix:" + n.socket
	} else {
		n.port = freePort(t)
		listen = "127.0.0.1:" + n.port + " " + options
	}
	require.NoError(t, os.WriteFile(n.file("conf"), fmt.Appendf(nil, nginxConf, dir, listen, server), 0o600))
	n.log, err = os.Create(n.file("error.log"))
	require.NoError(t, err)
	t.Cleanup(func() {
		n.kill()
		n.log.Close()
		if t.Failed() {
			said, _ := os.ReadFile(n.file("error.log"))
			t.Logf("nginx:\n%s", said)
		}
		os.RemoveAll(dir)
	})
	n.cmd = exec.Command(program, "-p", dir, "-c", n.file("conf"), "-e", "stderr")
	n.start()
	return n
}

func (n *nginx) file(name string) string { return filepath.Join(n.dir, name) }

func (n *nginx) start() {
	n.t.Helper()
	n.cmd.Stderr = n.log
	dieWithTests(n.cmd)
	require.NoError(n.t, n.cmd.Start())
	require.Eventually(n.t, func() bool {
		network, address := "tcp", "127.0.0.1:"+n.port
		if n.socket != "" {
			network, address = "unix", n.socket
		}
		c, err := net.Dial(network, address)
		if err != nil {
			return false
		}
		c.Close()
		return true
	}, patience, time.Millisecond, "nginx does not listen")
}

// kill ends it as a crash does.
func (n *nginx) kill() {
	if n.cmd != nil && n.cmd.ProcessState == nil && n.cmd.Process != nil {
		n.cmd.Process.Kill()
		n.cmd.Wait()
	}
}

// restart starts it again after kill.
func (n *nginx) restart() {
	n.t.Helper()
	n.cmd = exec.Command(n.cmd.Path, n.cmd.Args[1:]...)
	n.start()
}

// accesses waits until its access log has a line with text.
func (n *nginx) accesses(text string) {
	n.t.Helper()
	require.Eventually(n.t, func() bool {
		log, err := os.ReadFile(n.file("access.log"))
		return err == nil && strings.Contains(string(log), text)
	}, patience, time.Millisecond, "%s is not in the access log", text)
}
