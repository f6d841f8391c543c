package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// TestNewcomer does what the README says, with what the first start prints.
func TestNewcomer(t *testing.T) {
	t.Parallel()
	public := freePort(t)
	at := newHost(t, "")
	args := []string{"--listen", "127.0.0.1:0", "--bind", "127.0.0.1", "--allow-ports", public}
	reader, screen := openTerminal(t)
	server := at.startOn(reader, screen, "tunnel-server", args...)
	address := server.line(listening)[1]

	paste := server.line(`(?m)^  TUNNEL_KEY=(\S+) (tunnel-client --server HOST:(\d+) -R (\d+):3000)$`)
	key, command := paste[1], paste[2]
	_, err := pool.ParseKey(key)
	require.NoError(t, err)
	require.Equal(t, portOf(t, address), paste[3])
	require.Equal(t, public, paste[4], "a port that clients may publish")
	server.line(`TCP ` + paste[3] + ` \(the tunnel\) and ` + public + ` \(the service\)`)
	server.line(filepath.Join(at.state, "key"))

	command = strings.NewReplacer("HOST", "127.0.0.1", ":3000", ":"+web(t, "hello from behind NAT")).Replace(command)
	words := strings.Fields(command)
	client := newHost(t, key).start(words[0], words[1:]...)
	client.line(`INFO +tunnel-client .*, server 127\.0\.0\.1:\d+, TLS mode 1, key [0-9a-f]{16}`)
	client.line(`Service "` + public + `" is up: 127\.0\.0\.1:` + public + ` leads to 127\.0\.0\.1:\d+ \([1-9]\d* connections warm, round trip [0-9.]+(µs|ms)\)`)
	require.Equal(t, "hello from behind NAT", fetch(t, "127.0.0.1:"+public))
	server.line(`service "` + public + `" is up on 127\.0\.0\.1:` + public)

	client.stop()
	server.stop()
	require.Equal(t, 1, server.count(key), "in the command to paste and nowhere else")

	shown, errOut, status := at.output("tunnel-server", "key", "show")
	require.Zero(t, status)
	require.Equal(t, key+"\n", shown)
	require.Empty(t, errOut)

	reader, screen = openTerminal(t)
	again := at.startOn(reader, screen, "tunnel-server", args...)
	again.line(listening + filepath.Join(at.state, "key"))
	again.stop()
	require.Zero(t, again.count(key))
	require.Zero(t, again.count("TUNNEL_KEY"))
}

// Where nobody reads it, in a service's log, the key is not written.
func TestFirstStartOffTerminal(t *testing.T) {
	t.Parallel()
	at := newHost(t, "")
	server := at.start("tunnel-server", "--listen", "127.0.0.1:0")
	server.line(listening + filepath.Join(at.state, "key"))
	server.stop()
	key, err := os.ReadFile(filepath.Join(at.state, "key"))
	require.NoError(t, err)
	require.Zero(t, server.count(strings.TrimSpace(string(key))))
}

func TestKeyFileOthersCanRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	key := pool.NewKey().Text()
	require.NoError(t, os.WriteFile(path, []byte(key+"\n"), 0o644))
	require.NoError(t, os.Chmod(path, 0o644))
	server := newHost(t, "").start("tunnel-server", "--listen", "127.0.0.1:0", "--key-file", path)
	server.line(`WARN +Others on this machine can read the key: chmod 600 ` + path)
	address := server.line(listening + path)[1]
	client := newHost(t, "").start("tunnel-client", "--server", address, "--key-file", path, "-R", "0:"+web(t, "page"))
	client.line(`WARN +Others on this machine can read the key: chmod 600 ` + path)
	at := client.line(`is up: (\S+) leads to`)[1]
	require.Equal(t, "page", fetch(t, at))
	require.Zero(t, server.count(key)+client.count(key))
}

func TestDemoEndsWithCtrlC(t *testing.T) {
	t.Parallel()
	demo := newHost(t, "").start("tunnel-server", "demo")
	url := demo.line(`Open http://(\S+)\. Ctrl-C ends the demo\.`)[1]
	require.Contains(t, fetch(t, url), "served through tunnelpool")
	demo.stop()
}
