package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const top = "../.."

// tool finds a program of the system, or skips.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed here", name)
	}
	return path
}

// program is the start of a unit's command: systemd looks for it in its own path.
var program = regexp.MustCompile(`(?m)^ExecStart=tunnel-\w+`)

// units copies the units to a directory of their own, templates as an instance,
// with a program that is there, and returns their paths.
func units(t *testing.T, pattern string) (paths []string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(top, "deploy", "systemd", pattern))
	require.NoError(t, err)
	require.NotEmpty(t, found)
	here, err := os.Executable()
	require.NoError(t, err)
	dir := t.TempDir()
	for _, path := range found {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		if strings.HasSuffix(path, ".service") {
			require.Regexp(t, program, string(text))
			require.NotContains(t, string(text), "\nRestartPreventExitStatus=2", "a crash of a Go program ends with 2")
		}
		copied := filepath.Join(dir, strings.Replace(filepath.Base(path), "@.", "@8080.", 1))
		require.NoError(t, os.WriteFile(copied, program.ReplaceAll(text, []byte("ExecStart="+here)), 0o644))
		paths = append(paths, copied)
	}
	return paths
}

func TestUnitsVerify(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	out, err := exec.Command(analyze, append([]string{"verify", "--man=no"}, units(t, "*")...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Empty(t, string(out))
}

// TestUnitsExposeLittle bounds what systemd thinks of a service's exposure, from
// 0 to 10: "safe" ends at 2.
func TestUnitsExposeLittle(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	for _, unit := range units(t, "*.service") {
		out, err := exec.Command(analyze, "security", "--offline=true", unit).CombinedOutput()
		if err != nil {
			t.Skipf("systemd-analyze cannot judge units by their files here: %s", out)
		}
		found := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindSubmatch(out)
		require.NotNil(t, found, "%s", out)
		level, err := strconv.ParseFloat(string(found[1]), 64)
		require.NoError(t, err)
		t.Logf("%s: %v", filepath.Base(unit), level)
		require.Less(t, level, 2.0, "%s", out)
	}
}
