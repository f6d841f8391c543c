package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// release is what .goreleaser.yaml says, as far as it names what is here.
type release struct {
	Before struct{ Hooks []string }
	Builds []struct {
		ID, Main, Binary string
		Goos, Goarch     []string
		Env, Ldflags     []string
	}
	Archives []struct {
		IDs   []string `yaml:"ids"`
		Files []yaml.Node
	}
	Nfpms []struct {
		IDs      []string `yaml:"ids"`
		Contents []struct{ Src, Dst string }
		Scripts  map[string]string
	}
}

func TestRelease(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(top, ".goreleaser.yaml"))
	require.NoError(t, err)
	var r release
	require.NoError(t, yaml.Unmarshal(text, &r))
	made := t.TempDir() // what the hook makes
	hook := strings.Fields(r.Before.Hooks[0])
	require.Equal(t, []string{"./deploy/generate", "dist-extra"}, hook[:2])
	generate(t, made)

	ids := map[string]bool{}
	for _, b := range r.Builds {
		ids[b.ID] = true
		require.Equal(t, []string{"linux", "darwin", "windows", "freebsd"}, b.Goos, "as .ci/cross has them")
		require.Equal(t, []string{"amd64", "arm64"}, b.Goarch)
		require.Contains(t, b.Env, "CGO_ENABLED=0")
		require.FileExists(t, filepath.Join(top, b.Main, "main.go"))
		require.Equal(t, filepath.Base(b.Main), b.Binary)
		for _, name := range []string{"version", "commit", "date"} { // TestReleaseVersion of internal/cli holds them
			require.Contains(t, strings.Join(b.Ldflags, " "), "-X github.com/tunnelpool/pool/internal/cli."+name+"=")
		}
	}
	require.Len(t, ids, 2)
	exists := func(pattern string) {
		t.Helper()
		path := filepath.Join(top, pattern)
		if rest, ok := strings.CutPrefix(pattern, "dist-extra/"); ok {
			path = filepath.Join(made, rest)
		}
		found, err := filepath.Glob(path)
		require.NoError(t, err)
		require.NotEmpty(t, found, "%s names nothing", pattern)
	}
	known := func(of []string) {
		t.Helper()
		require.Len(t, of, 2)
		for _, id := range of {
			require.True(t, ids[id], id)
		}
	}
	for _, a := range r.Archives {
		known(a.IDs)
		for _, f := range a.Files {
			pattern := f.Value
			if f.Kind == yaml.MappingNode {
				var file struct{ Src string }
				require.NoError(t, f.Decode(&file))
				pattern = file.Src
			}
			exists(pattern)
		}
	}
	for _, p := range r.Nfpms {
		known(p.IDs)
		for _, c := range p.Contents {
			require.True(t, strings.HasPrefix(c.Dst, "/"), c.Dst)
			exists(c.Src)
		}
		require.Len(t, p.Scripts, 3)
		for _, script := range p.Scripts {
			out, err := exec.Command("sh", "-n", filepath.Join(top, script)).CombinedOutput()
			require.NoError(t, err, "%s", out)
		}
	}
}

// TestReleaser lets goreleaser itself judge, where it is installed.
func TestReleaser(t *testing.T) {
	c := exec.Command(tool(t, "goreleaser"), "check")
	c.Dir = top
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// generate makes the manual pages and completions as a release does.
func generate(t *testing.T, dir string) {
	t.Helper()
	tool(t, "go")
	tool(t, "sh")
	c := exec.Command("sh", filepath.Join(top, "deploy", "generate"), dir, "v9.8.7", "2026-11-21T10:00:00Z")
	c.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false")
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, made := range []string{"man/tunnel-server.1", "man/tunnel-client.1",
		"completions/tunnel-server.bash", "completions/tunnel-client.fish", "completions/_tunnel-client"} {
		text, err := os.ReadFile(filepath.Join(dir, made))
		require.NoError(t, err)
		require.Contains(t, string(text), "tunnel", made)
		if strings.HasSuffix(made, ".1") {
			require.Contains(t, string(text), `1 "2026-11-21" "tunnelpool v9.8.7"`)
		}
	}
}
