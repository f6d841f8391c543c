package interop

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/interop/after"
	"github.com/tunnelpool/pool/interop/before"

	tunnelpool "github.com/tunnelpool/pool"
)

const migration = "../docs/MIGRATION.md"

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

// TestMigrationCode: the code that docs/MIGRATION.md shows is compiled here, and
// before and after differ in the import alone.
func TestMigrationCode(t *testing.T) {
	body := func(path string) string { // behind the package clause
		_, rest, ok := strings.Cut(read(t, path), "\nimport (")
		require.True(t, ok)
		return rest
	}
	was, is := body("before/pair.go"), body("after/pair.go")
	require.Equal(t, strings.Replace(was, "NodePassProject", "tunnelpool", 1), is)
	shown := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(read(t, migration), -1)
	require.Len(t, shown, 2)
	require.Contains(t, is, "\n"+shown[0][1])
	require.Contains(t, body("after/oneend.go"), "\n"+shown[1][1])
	require.Contains(t, read(t, migration), "```diff\n-\t\"github.com/NodePassProject/pool\"\n+\t\"github.com/tunnelpool/pool\"\n```")
}

// TestMigrationNamesItsTests: what the document names as proof is there.
func TestMigrationNamesItsTests(t *testing.T) {
	sources := map[string]string{}
	for prefix, dir := range map[string]string{"interop.": ".", "": ".."} {
		files, err := filepath.Glob(dir + "/*_test.go")
		require.NoError(t, err)
		for _, f := range files {
			sources[prefix] += read(t, f)
		}
	}
	named := regexp.MustCompile("`(interop\\.)?(Test\\w+)`").FindAllStringSubmatch(read(t, migration), -1)
	require.NotEmpty(t, named)
	for _, n := range named {
		require.Contains(t, sources[n[1]], "\nfunc "+n[2]+"(t *testing.T)", n[0])
	}
}

// TestMigration: the same lines serve on either library, and one end can go first.
func TestMigration(t *testing.T) {
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { l.Close() })
		return l
	}
	t.Run("before", func(t *testing.T) {
		l := listen()
		server, client := before.Pair(l)
		require.Eventually(t, func() bool { return server.Active() > 0 && client.Active() > 0 }, enough, often)
		user, target, err := before.Hand(server, client)
		require.NoError(t, err)
		requireEcho(t, user, target)
		client.Close()
		l.Close()
		server.Close()
	})
	t.Run("after", func(t *testing.T) {
		server, client := after.Pair(listen())
		user, target, err := after.Hand(server, client)
		require.NoError(t, err)
		requireEcho(t, user, target)
		client.Close()
		server.Close()
	})
	t.Run("one end", func(t *testing.T) {
		var address string
		for _, e := range []ends{
			{"server", func(t *testing.T, mode string, _ int, l net.Listener) pool {
				p, err := after.Server(l, serverTLS(mode))
				require.NoError(t, err)
				return p
			}, newTheirClient},
			{"client", func(t *testing.T, mode string, n int, l net.Listener) pool {
				address = l.Addr().String()
				return newTheirServer(t, mode, n, l)
			}, func(t *testing.T, mode string, _ int, _ func() (net.Conn, error)) pool {
				p, err := after.Client(address, tunnelpool.TLSMode(mode), serverName)
				require.NoError(t, err)
				return p
			}},
		} {
			for _, mode := range []string{"0", "1", "2"} {
				near, far := e.open(t, mode, 4).take(t)
				requireEcho(t, near, far)
			}
		}
	})
}
