//go:build unix

package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh/knownhosts"
)

// command runs the command line; it returns what was written and the exit status.
func commandLine(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, failed bytes.Buffer
	status = run(t.Context(), args, &out, &failed)
	return out.String(), failed.String(), status
}

func TestCommand(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	flags := []string{"--key", s.path("key"), "--known-hosts", s.path("known_hosts")}
	out, failed, status := commandLine(t, append(flags, s.address, "echo", "out;", "echo err >&2;", "exit 7")...)
	require.Equal(t, "out\n", out)
	require.Equal(t, "err\n", failed)
	require.Equal(t, 7, status)

	before := s.logins()
	out, failed, status = commandLine(t, append(flags, "--times", "20", "--connections", "5", s.address, "sleep 0.1")...)
	require.Zero(t, status, failed)
	require.Regexp(t, regexp.MustCompile(`(?m)^ +20 +\w+ +[0-9.]+ ms +[0-9.]+ ms *$`), out)
	require.Regexp(t, regexp.MustCompile(`20 commands over [1-5] connections in [0-9.]+ ms\n$`), out)
	require.LessOrEqual(t, s.logins()-before, 5)
}

// TestMistakes holds that each is told in one line that says what is wrong.
func TestMistakes(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // and closed: nobody listens there
	require.NoError(t, err)
	nobody := silent.Addr().String()
	silent.Close()
	s.file("other", knownhosts.Line([]string{s.address}, s.newKey("other-key", newEd25519(t)).PublicKey()))
	s.file("empty", "")
	key, known := " --key "+s.path("key"), " --known-hosts "+s.path("known_hosts")
	for _, c := range []struct {
		args   string
		status int
		says   string
	}{
		{"", 2, "a host and a command are needed"},
		{"--nosuch", 2, "-nosuch"},
		{"--times 0" + key + known + " localhost true", 2, "--times"},
		{"--key /no/such/key localhost true", 2, "/no/such/key"},
		{"--key " + s.path("empty") + " localhost true", 2, s.path("empty")},
		{"--known-hosts /no/such/file" + key + " localhost true", 1, "/no/such/file"},
		{"--known-hosts " + s.path("other") + key + " " + s.address + " true", 1, "is not the one in " + s.path("other") + ":1"},
		{"--known-hosts " + s.path("empty") + key + " " + s.address + " true", 1, s.path("empty") + " does not know the host key of " + s.address},
		{"--key " + s.path("other-key") + known + " " + s.address + " true", 1, "unable to authenticate"},
		{"--user no-such-user" + key + known + " " + s.address + " true", 1, "unable to authenticate"},
		{key + known + " " + nobody + " true", 1, "connection refused"},
		{key + known + " no.such.invalid true", 1, "no.such.invalid"},
		{"--timeout 500ms" + key + known + " " + s.address + " while sleep 0.1; do echo; done", 1, "took too long"},
	} {
		out, failed, status := commandLine(t, strings.Fields(c.args)...)
		require.Equal(t, c.status, status, "%s: %s", c.args, failed)
		require.Empty(t, strings.TrimSpace(out), c.args)
		require.Contains(t, failed, c.says, c.args)
		require.True(t, strings.HasPrefix(failed, "ssh: ") && strings.Count(failed, "\n") == 1, "%s: %q", c.args, failed)
	}
	out, _, status := commandLine(t, "--help")
	require.Zero(t, status)
	require.Equal(t, usage, out)
}

// TestDefaults holds that without flags the key and the host keys are those of ssh.
func TestDefaults(t *testing.T) {
	s := startSSHD(t)
	home := t.TempDir()
	t.Setenv("HOME", home)
	require.NoError(t, os.Mkdir(filepath.Join(home, ".ssh"), 0o700))
	require.NoError(t, os.Rename(s.path("key"), filepath.Join(home, ".ssh", "id_ed25519")))
	require.NoError(t, os.Rename(s.path("known_hosts"), filepath.Join(home, ".ssh", "known_hosts")))
	out, failed, status := commandLine(t, s.address, "echo fine")
	require.Zero(t, status, failed)
	require.Equal(t, "fine\n", out)
}
