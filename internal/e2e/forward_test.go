package e2e

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// TestForwardingPage does what docs/FORWARDING.md says, with a page in the place
// of the database.
func TestForwardingPage(t *testing.T) {
	t.Parallel()
	target := web(t, "the database")
	here := freePort(t)
	key := pool.NewKey().Text()
	server := newHost(t, key).start("tunnel-server", append([]string{"--listen", "127.0.0.1:0"},
		documented(t, "FORWARDING.md", "tunnel-server", "db:5432", target)...)...)
	address := server.line(listening)[1]
	client := newHost(t, key).start("tunnel-client", documented(t, "FORWARDING.md", "tunnel-client",
		"HOST", address, "5432:db:5432", here+":"+target)...)
	client.line(`Forward "` + here + `" is up: 127\.0\.0\.1:` + here + ` leads to ` + target + ` at the server`)
	require.Equal(t, "the database", fetch(t, "127.0.0.1:"+here))

	// What is not allowed is told with what to do about it.
	denied := newHost(t, key).start("tunnel-client", "--server", address, "-L", "0:localhost:1")
	denied.line(`WARN +Forward "localhost:1" is not up: forwards to "localhost:1" are not allowed; the server's operator can allow it with --allow-forward`)

	taken := newHost(t, key)
	_, errOut, status := taken.output("tunnel-client", "--server", address, "-L", here+":localhost:1")
	require.Equal(t, 1, status)
	require.Regexp(t, `^tunnel-client: listen tcp 127\.0\.0\.1:`+here+`: .*another program has the port.*-L\)\n$`, errOut)
}

// TestForwardRedis runs the example.
func TestForwardRedis(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("Debian's redis-server is not here")
	}
	c := exec.Command("bash", "../../examples/forward-redis/run.sh")
	c.Env = append(os.Environ(), "REDIS_PORT="+freePort(t))
	dieWithTests(c)
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "hello through the tunnel")
	t.Logf("%s", out)
}
