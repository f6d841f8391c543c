//go:build unix

package e2e

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFilesBecomePipes: pipes that nobody writes to, in the place of all the files
// that a program follows, are told of, change nothing and do not hold up its end.
func TestFilesBecomePipes(t *testing.T) {
	t.Parallel()
	at := place{t, t.TempDir()}
	ca := newAuthority(t)
	issue := func() {
		cert, private := ca.issue(t, "localhost")
		at.copy("cert", cert, "private", private)
	}
	issue()
	at.copy("ca", ca.file)
	at.put("key", []byte(newKey()))
	const ofServer = "listen: localhost:0\nbind: 127.0.0.1\ntls: 2\ntls-cert: cert\ntls-key: private\nkey-file: key\n"
	at.put("server.yaml", []byte(ofServer))
	h := newHost(t, "")
	at.put("client-key", []byte(h.prints("tunnel-server", "key", "add", "anna")))
	server := h.start("tunnel-server", "--config", at.path("server.yaml"))
	address := "localhost:" + portOf(t, server.line(listening)[1])
	ofClient := "server: " + address + "\ntls: 2\ntls-ca: ca\nkey-file: client-key\nreverse: {web: \"0:" + echo(t) + "\"}\n"
	at.put("client.yaml", []byte(ofClient))
	client := newHost(t, "").start("tunnel-client", "--config", at.path("client.yaml"))
	client.public("web")

	// All of them are followed by now: each is told of once.
	at.put("server.yaml", []byte(ofServer+"wait: 7s\n"))
	server.line("The configuration has changed")
	issue()
	server.line("The certificates have changed")
	at.put("key", []byte(newKey()))
	server.line("The tunnel's own key has changed")
	h.prints("tunnel-server", "key", "add", "bob")
	server.line("The keys have changed")
	at.put("client.yaml", []byte(ofClient+"rate: 1Gbit\n"))
	client.line("The configuration has changed")
	data, err := os.ReadFile(ca.file)
	require.NoError(t, err)
	at.put("ca", append(data, '\n'))
	client.line("The certificates have changed")
	at.copy("client-key", at.path("key"))
	public := client.line(`(?s)The key has changed.*"web" is up: (\S+)`)[1] // in the session for it

	keys := filepath.Join(h.state, "keys.yaml")
	for _, path := range []string{at.path("server.yaml"), at.path("key"), keys, at.path("cert"), at.path("client.yaml"), at.path("client-key"), at.path("ca")} {
		require.NoError(t, os.Remove(path))
		require.NoError(t, syscall.Mkfifo(path, 0o600))
	}
	told := func(p *process, lines int) {
		t.Helper()
		require.Eventually(t, func() bool { return p.count(" is no file any more") >= lines }, patience, 5*time.Millisecond, "%s", p.text())
	}
	told(server, 4)
	told(client, 3)
	user := startFlow(t, public)
	flowsOn(t, []*flow{user})
	finish(t, []*flow{user})
	client.stop()
	server.stop()
}
