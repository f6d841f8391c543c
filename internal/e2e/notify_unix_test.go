//go:build unix

package e2e

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// serviceManager is what started a program and wants to know how it does.
type serviceManager struct {
	t    *testing.T
	conn *net.UnixConn
	path string
	read []string // lines that came and that nobody has waited for yet
}

func newServiceManager(t *testing.T) *serviceManager {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify") // short, unlike t.TempDir: a socket's path is limited
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	m := &serviceManager{t: t, path: filepath.Join(dir, "s")}
	m.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { m.conn.Close() })
	return m
}

// env is what the programs find in their environment, with a watchdog that makes
// them look five times a second.
func (m *serviceManager) env() []string {
	return []string{"NOTIFY_SOCKET=" + m.path, "WATCHDOG_USEC=400000"}
}

// until reads on until a line matches.
func (m *serviceManager) until(pattern string) {
	m.t.Helper()
	re := regexp.MustCompile("^(?:" + pattern + ")$")
	var seen []string
	for m.conn.SetReadDeadline(time.Now().Add(patience)); ; {
		for i, line := range m.read {
			if seen = append(seen, line); re.MatchString(line) {
				m.read = m.read[i+1:]
				return
			}
		}
		message := make([]byte, 4096)
		n, err := m.conn.Read(message)
		require.NoError(m.t, err, "%s did not come:\n%s", pattern, strings.Join(seen, "\n"))
		m.read = strings.Split(string(message[:n]), "\n")
	}
}

// TestServiceManager: both programs tell who started them when they are ready,
// how they do, that they live, and that they stop.
func TestServiceManager(t *testing.T) {
	atServer, atClient := newServiceManager(t), newServiceManager(t)
	tunnel, public, target := freePort(t), freePort(t), newHalves(t)
	key := newKey()

	// The client first: it is not ready while there is no server.
	home := newHost(t, key)
	home.env = atClient.env()
	client := home.start("tunnel-client", "--server", "127.0.0.1:"+tunnel, "-R", public+":"+target.address)
	atClient.until(`STATUS=Not connected to 127\.0\.0\.1:` + tunnel + `, 0 of 1 service up, 0 users`)
	atClient.until(`WATCHDOG=1`)

	host := newHost(t, key)
	host.env = atServer.env()
	server := host.start("tunnel-server", "--listen", "127.0.0.1:"+tunnel, "--bind", "127.0.0.1")
	atServer.until(`READY=1`)
	atServer.until(`STATUS=1 client, 1 service, 0 users`)
	atClient.until(`READY=1`)
	atClient.until(`STATUS=Connected to 127\.0\.0\.1:` + tunnel + `, 1 service up, 0 users`)
	c := user(t, "127.0.0.1:"+public)
	atServer.until(`STATUS=1 client, 1 service, 1 user`)
	atClient.until(`STATUS=Connected to .*, 1 service up, 1 user`)
	atServer.until(`WATCHDOG=1`)

	client.signal(syscall.SIGTERM)
	atClient.until(`STOPPING=1`)
	atClient.until(`STATUS=Stopping: .* 1 user.*`)
	server.signal(syscall.SIGTERM)
	atServer.until(`STOPPING=1`)
	target.finish()
	c.Close()
	require.Zero(t, client.status())
	require.Zero(t, server.status())
}

// TestServiceManagerSeesAFreeze: a program that does not move gives no signs of
// life, and gives them again when it does.
func TestServiceManagerSeesAFreeze(t *testing.T) {
	m := newServiceManager(t)
	host := newHost(t, newKey())
	host.env = m.env()
	server := host.start("tunnel-server", "--listen", "127.0.0.1:0", "--bind", "127.0.0.1")
	m.until(`WATCHDOG=1`)
	server.signal(syscall.SIGSTOP)
	for { // what was on its way
		m.conn.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := m.conn.Read(make([]byte, 4096)); err != nil {
			require.True(t, os.IsTimeout(err))
			break
		}
	}
	server.signal(syscall.SIGCONT)
	m.until(`WATCHDOG=1`)
	server.stop()
}
