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
