package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/clitest"
)

// TestDocumentedConfiguration: the examples of docs/CONFIGURATION.md lead to a
// tunnel, as they stand and with all that is commented out in them.
func TestDocumentedConfiguration(t *testing.T) {
	for what, text := range map[string]func(string) string{
		"as they stand": func(text string) string { return text },
		"everything":    clitest.Uncommented,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			site, pi := place{t, t.TempDir()}, place{t, t.TempDir()}
			key, ca := newKey(), newAuthority(t)
			site.put("key", []byte(key))
			pi.put("key", []byte(key))
			cert, private := ca.sign(t, "localhost", allUsages...)
			site.copy("fullchain.pem", cert, "privkey.pem", private, "clients.pem", ca.file)
			pi.copy("client.pem", cert, "client-key.pem", private, "ca.pem", ca.file)
			example := func(heading string, pairs ...string) []byte {
				example := inDocument(t, "CONFIGURATION.md", `(?s)### `+heading+"\n+```yaml\n(.*?)```")
				for i := 0; i < len(pairs); i += 2 {
					require.Contains(t, example, pairs[i])
				}
				return []byte(strings.NewReplacer(pairs...).Replace(text(example)))
			}
			site.put("server.yaml", example("For the server", "listen: :10101", "listen: 127.0.0.1:0",
				"bind: 203.0.113.7", "bind: 127.0.0.1", "443, 8000-8999", "1024-65535", "198.51.100.0/24", "127.0.0.0/8", "/var/lib/tunnelpool", site.path("state")))
			server := newHost(t, "").start("tunnel-server", "--config", site.path("server.yaml"), "--key-file", site.path("key"))
			address := server.line(listening)[1]
			target := web(t, "a page")
			pi.put("client.yaml", example("For the client", "server: example.com", "server: localhost:"+portOf(t, address), "tunnel.example.com", "localhost",
				"web: 8080:3000", "web: "+freePort(t)+":"+target, "[8081:3001, 3002, 192.168.1.20:3001]", "[0:3001, 3002, 127.0.0.1:3001]", "udp/8053:192.168.1.1:53", "udp/0:127.0.0.1:53",
				"db: 5432:db:5432", "db: 0:db:5432", "198.51.100.0/24", "127.0.0.0/8", "http:/healthz", "tcp", "proxy-protocol: {web: v2}", "proxy-protocol: {api: v2}", "/var/lib/tunnelpool", pi.path("state")))
			client := newHost(t, "").start("tunnel-client", "--config", pi.path("client.yaml"))
			require.Contains(t, fetch(t, "127.0.0.1:"+portOf(t, client.public("web"))), "a page")
			client.stop()
			server.stop()
		})
	}
}
