package e2e

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// prints runs a command to its good end and returns what it prints.
func (h host) prints(words ...string) string {
	h.t.Helper()
	out, errOut, status := h.output(words[0], words[1:]...)
	require.Zero(h.t, status, errOut)
	require.Empty(h.t, errOut)
	return out
}

// TestKeys does what docs/KEYS.md says, beside a server that runs.
func TestKeys(t *testing.T) {
	t.Parallel()
	at := newHost(t, "")
	server := at.start("tunnel-server", "--listen", "127.0.0.1:0", "--bind", "127.0.0.1")
	address := server.line(listening)[1]
	first := strings.TrimSpace(at.prints("tunnel-server", "key", "show"))
	target := newHalves(t)
	other := startClient(t, first, address, "-R", "0:"+target.address)
	othersUser := user(t, other.line(`is up: (\S+) leads to`)[1])

	reader, screen := openTerminal(t)
	words := shown(t, "KEYS.md", "tunnel-server key add anna --ports 8000-8099")
	add := at.startOn(reader, screen, words[0], words[1:]...)
	paste := add.line(`(?m)^  TUNNEL_KEY=(\S+) (tunnel-client --server HOST -R 8080:3000)$`)
	add.line(`Key "anna" was made and kept in ` + filepath.Join(at.state, "keys.yaml"))
	require.Zero(t, add.status())
	server.line(`INFO +The keys have changed, ` + filepath.Join(at.state, "keys.yaml") + `: anna, default`)

	command := strings.Fields(strings.NewReplacer("HOST", address, "8080:3000", "8080:"+target.address).Replace(paste[2]))
	client := newHost(t, paste[1]).start(command[0], append(command[1:], "-R", "free=0:"+target.address, "-R", "7999:"+target.address)...)
	client.line(`Service "7999" is not up: key "anna" may publish 8000-8099 only; the server's operator can change that: tunnel-server key --help`)
	public := client.line(`Service "free" is up: (\S+) leads to`)[1]
	require.Regexp(t, `^127\.0\.0\.1:80\d\d$`, public)
	server.line(` joined \(key "anna", [0-9a-f]{16}\)`)
	annas := user(t, public)

	list := at.prints(shown(t, "KEYS.md", "tunnel-server key list")...)
	require.Regexp(t, `(?m)^anna +[0-9a-f]{16} +8000-8099 +all +- +- +on$`, list)
	require.NotContains(t, list, paste[1])

	at.prints(shown(t, "KEYS.md", "tunnel-server key revoke anna")...)
	begun := time.Now()
	_, err := io.ReadAll(annas)
	require.Error(t, err, "a reset, not an end in order")
	t.Logf("the user was cut off %v after key revoke had ended", time.Since(begun))
	server.line(`WARN +\S+ at \S+ is cut off: key "anna" is not valid any more`)
	client.line(`The server says goodbye: key "anna" is not valid any more`)
	client.line(`refused the key`)
	_, err = net.Dial("tcp", public)
	require.Error(t, err, "its port is closed")

	// By hand: a mistake changes nothing, and the file without it is followed.
	path := filepath.Join(at.state, "keys.yaml")
	write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	write("anna:\n  key: " + paste[1] + "\n  prots: 8000-8099\n")
	server.line(`WARN +` + path + `, line 3: anna: unknown field "prots"; is "ports" meant\?; the keys stay as they were`)
	write("anna:\n  key: " + paste[1] + "\n")
	again := client.line(`(?s)refused the key.*Service "free" is up: (\S+) leads to`)[1]
	user(t, again).Close()

	require.Equal(t, 1, server.count(`(key "default", `), "others notice nothing")
	othersUser.SetDeadline(time.Now().Add(10 * time.Millisecond))
	_, err = othersUser.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "still there")
	// The first key goes too.
	client.kill()
	write("")
	at.prints("tunnel-server", "key", "revoke", "default")
	server.line(`WARN +The keys have changed: no client is let in; tunnel-server key add NAME makes a key`)
	other.line(`refused the key`)
	othersUser.SetDeadline(time.Now().Add(patience))
	_, err = othersUser.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	server.stop()
	require.Zero(t, server.count(paste[1])+server.count(first))
}
