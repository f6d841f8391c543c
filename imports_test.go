package pool

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRooms holds who may know what: the root knows nothing of tunnels, the
// wire nothing of ours, and nobody the commands.
func TestRooms(t *testing.T) {
	const module = "github.com/tunnelpool/pool"
	outside := map[string]bool{"golang.org/x/time/rate": true, "golang.org/x/sys/unix": true}
	checked := 0
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		room := path.Dir(filepath.ToSlash(file))
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			ours := imported == module || strings.HasPrefix(imported, module+"/")
			standard := !strings.Contains(strings.Split(imported, "/")[0], ".")
			checked++
			require.False(t, strings.HasPrefix(imported, module+"/cmd/"), "%s imports a command", file)
			switch room {
			case ".":
				require.True(t, standard || outside[imported], "%s imports %s", file, imported)
			case "internal/wire":
				require.False(t, ours, "%s imports %s", file, imported)
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, checked, 100, "too few imports seen for the test to mean anything")
}
