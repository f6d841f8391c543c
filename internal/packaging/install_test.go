package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestInstallNamesWhatIsThere: every unit and every file of the repository that
// the pages and the packages' scripts name exists.
func TestInstallNamesWhatIsThere(t *testing.T) {
	unit := regexp.MustCompile(`tunnel-[a-z-]+(?:@[\w*]*)?\.(?:service|socket)`)
	file := regexp.MustCompile(`\bdeploy/[\w./*@-]*[\w*]`)
	named := 0
	for _, page := range []string{"docs/INSTALL.md", "deploy/package/preremove", "deploy/systemd/tunnel-server-port@.socket"} {
		text := read(t, page)
		for _, name := range unit.FindAllString(text, -1) {
			named++
			require.FileExists(t, filepath.Join(top, "deploy", "systemd", regexp.MustCompile(`@[\w*]*`).ReplaceAllString(name, "@")), page)
		}
		for _, name := range file.FindAllString(text, -1) {
			named++
			found, err := filepath.Glob(filepath.Join(top, name))
			require.NoError(t, err)
			require.NotEmpty(t, found, "%s names %s", page, name)
		}
	}
	require.Greater(t, named, 20, "too little seen for the test to mean anything")
}

// TestDropIns: what the page adds to a unit is what systemd takes.
func TestDropIns(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	dropIns := regexp.MustCompile("(?s)```ini\n(.*?)```").FindAllStringSubmatch(read(t, "docs/INSTALL.md"), -1)
	require.Len(t, dropIns, 2)
	for _, d := range dropIns {
		for _, unit := range units(t, "*.service") {
			f, err := os.OpenFile(unit, os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteString("\n" + d[1])
			require.NoError(t, err)
			require.NoError(t, f.Close())
			out, err := exec.Command(analyze, "verify", "--man=no", unit).CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Empty(t, string(out))
		}
	}
}

// TestInstallScriptsParse: the commands of the page are a shell's.
func TestInstallScriptsParse(t *testing.T) {
	shell := tool(t, "sh")
	scripts := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(read(t, "docs/INSTALL.md"), -1)
	require.Greater(t, len(scripts), 10)
	for _, s := range scripts {
		c := exec.Command(shell, "-n")
		c.Stdin = strings.NewReader(s[1])
		out, err := c.CombinedOutput()
		require.NoError(t, err, "%s%s", out, s[1])
	}
}

// TestRemovalDisables: what was enabled of the units, instances included, is not any
// more once the package's script has run.
func TestRemovalDisables(t *testing.T) {
	systemctl := tool(t, "systemctl")
	root := t.TempDir()
	installed := filepath.Join(root, "usr", "lib", "systemd", "system")
	require.NoError(t, os.MkdirAll(installed, 0o755))
	require.NoError(t, os.CopyFS(installed, os.DirFS(filepath.Join(top, "deploy", "systemd"))))
	run := func(args ...string) {
		t.Helper()
		out, err := exec.Command(systemctl, append([]string{"--root=" + root}, args...)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	links := func() []string {
		found, err := filepath.Glob(filepath.Join(root, "etc", "systemd", "system", "*.wants", "*"))
		require.NoError(t, err)
		return found
	}
	enabled := []string{
		"tunnel-server.socket", "tunnel-server.service", "tunnel-client.service",
		"tunnel-server-port@8080.socket", "tunnel-server-port@443.socket", "tunnel-client@home.service",
	}
	run(append([]string{"enable"}, enabled...)...)
	require.Len(t, links(), len(enabled))

	// The script's own command, with a root that is not this machine's.
	disable := regexp.MustCompile(`(?s)systemctl (disable .*?) \|\| true`).FindStringSubmatch(read(t, "deploy/package/preremove"))
	require.NotNil(t, disable)
	run(strings.Fields(strings.ReplaceAll(disable[1], "\\\n", " "))...)
	require.Empty(t, links())
}
