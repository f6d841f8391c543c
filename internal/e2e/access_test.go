package e2e

import (
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// with puts other words in the place of some of a command's, in pairs.
func with(words []string, pairs ...string) []string {
	return strings.Fields(strings.NewReplacer(pairs...).Replace(strings.Join(words, " ")))
}

// TestAccess does what docs/ACCESS.md says.
func TestAccess(t *testing.T) {
	t.Parallel()
	key := newKey()
	local := []string{"--listen", "127.0.0.1:0", "--bind", "127.0.0.1"}
	start := func(documented []string, more ...string) *process {
		return newHost(t, key).start(documented[0], append(documented[1:], more...)...)
	}

	t.Run("where from", func(t *testing.T) {
		server := start(shown(t, "ACCESS.md", "tunnel-server --allow-from 127.0.0.0/8,2001:db8::/32"), local...)
		words := shown(t, "ACCESS.md", "tunnel-client --server HOST -R web=8080:3000 -R ssh=2222:22 --allow-from ssh=192.0.2.0/24,2001:db8::7")
		page := web(t, "page")
		client := start(with(words, "HOST", server.line(listening)[1], "8080:3000", "0:"+page, "2222:22", "0:"+page))
		require.Equal(t, "page", fetch(t, client.line(`Service "web" is up: (\S+) leads to`)[1]))
		stranger, err := net.Dial("tcp", client.line(`Service "ssh" is up: (\S+) leads to`)[1])
		if err == nil { // else it was reset while it connected
			defer stranger.Close()
			_, err = stranger.Read(make([]byte, 1))
		}
		require.ErrorIs(t, err, syscall.ECONNRESET)
		server.line(`WARN +User \S+ on \S+ is reset: the client lets in users of other prefixes only; see its --allow-from`)
		client.stop()
		server.stop()
	})
	t.Run("clients from elsewhere", func(t *testing.T) {
		server := start([]string{"tunnel-server", "--allow-from", "192.0.2.0/24"}, local...)
		client := startClient(t, key, server.line(listening)[1], "-R", "0:3000")
		server.line(`WARN +refused a connection from \S+ \(address\): "only the configured addresses may connect"`)
		client.line(`WARN +.*; trying again`)
		client.stop()
		server.stop()
		require.Zero(t, server.count(" joined "))
	})
	t.Run("certificates", func(t *testing.T) {
		site, staff := newAuthority(t), newAuthority(t)
		cert, certKey := site.issue(t, "tunnel.example")
		words := shown(t, "ACCESS.md", "tunnel-server --tls 2 --tls-cert server.pem --tls-key server.key --tls-client-ca clients-ca.pem")
		server := start(with(words, "server.pem", cert, "server.key", certKey, "clients-ca.pem", staff.file), local...)
		at := server.line(listening)[1]
		trust := []string{"--tls-ca", site.file, "--tls-name", "tunnel.example"}
		words = shown(t, "ACCESS.md", "tunnel-client --server HOST --tls 2 --tls-cert client.pem --tls-key client.key -R web=8080:3000")
		page := web(t, "page")

		none := startClient(t, key, at, append(trust, "--tls", "2", "-R", "0:"+page)...)
		none.line(`WARN +\S+: client certificate refused: the server wants one, and there is none \(.*\); give one that the server's operator issued with --tls-cert and --tls-key; trying again`)
		server.line(`WARN +refused a connection from \S+ \(tls\): "TLS handshake: the client shows no certificate"`)
		none.stop()

		cert, certKey = site.issueFor(t, "anna")
		other := start(with(words, "HOST", at, "client.pem", cert, "client.key", certKey, "8080:3000", "0:"+page), trust...)
		other.line(`WARN +\S+: client certificate refused: it has expired, or is not of the authority that the server trusts`)
		other.stop()

		cert, certKey = staff.issueFor(t, "anna")
		good := start(with(words, "HOST", at, "client.pem", cert, "client.key", certKey, "8080:3000", "0:"+page), trust...)
		require.Equal(t, "page", fetch(t, good.line(`Service "web" is up: (\S+) leads to`)[1]))
		good.stop()
		server.stop()
	})
}
