package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSSHExample runs the script of examples/publish-ssh: a command, and much through it
// both ways to the end of its input.
func TestSSHExample(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"bash", "sshd", "ssh", "ssh-keygen"} {
		if _, err := exec.LookPath(program); err != nil {
			if _, err := os.Stat("/usr/sbin/" + program); err != nil {
				t.Skipf("%s is not installed", program)
			}
		}
	}
	run := func(input []byte, command ...string) string {
		c := exec.Command("bash", append([]string{filepath.Join("..", "..", "examples", "publish-ssh", "run.sh")}, command...)...)
		c.Env = append(os.Environ(), "BIN="+build(t), "TMPDIR="+os.TempDir())
		c.Stdin = bytes.NewReader(input)
		var failed bytes.Buffer
		c.Stderr = &failed
		out, err := c.Output()
		require.NoError(t, err, "%s", failed.String())
		return string(out)
	}
	require.Equal(t, "hello through the tunnel\n", run(nil))
	much := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	require.True(t, string(much) == run(much, "cat"), "4 MiB there and back")
}
