package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// command runs the command line; it returns what was written and the exit status.
func command(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, failed bytes.Buffer
	status = run(t.Context(), args, &out, &failed)
	return out.String(), failed.String(), status
}

func TestCommand(t *testing.T) {
	t.Parallel()
	u := startUPSD(t)
	out, failed, status := command(t, "--server", u.address, "one", "ups.status", "test.value.3", "battery.charge")
	require.Zero(t, status, failed)
	require.Equal(t, "ups.status: OL\ntest.value.3: one 3\nbattery.charge: 90\n", out)

	out, failed, status = command(t, "--server", u.address, "two")
	require.Zero(t, status, failed)
	require.Contains(t, out, "ups.status: OL\n")
	require.Contains(t, out, "test.value.99: two 99\n")
}

// TestCommandWatches watches with a log-in until it is interrupted: upsd counts
// it for that long, and again after a restart.
func TestCommandWatches(t *testing.T) {
	t.Parallel()
	u := startUPSD(t)
	password := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(password, []byte("pass \"word\n"), 0o600))
	ctx, interrupt := context.WithCancel(t.Context())
	out, failed := new(lockedBuffer), new(lockedBuffer)
	status := make(chan int)
	go func() {
		status <- run(ctx, []string{"--server", u.address, "--user", "watcher", "--password-file", password,
			"--watch", "20ms", "--login", "one", "ups.status"}, out, failed)
	}()
	require.Eventually(t, func() bool {
		return strings.Count(out.String(), "ups.status: OL\n") > 3 && strings.Contains(out.String(), "logged in at one, as one of 1\n")
	}, 10*time.Second, 10*time.Millisecond)
	u.kill()
	require.Eventually(t, func() bool { return failed.String() != "" }, 20*time.Second, 10*time.Millisecond)
	u.start()
	c := u.client(1)
	require.Eventually(t, func() bool { return u.logins(c) == 1 }, 20*time.Second, 10*time.Millisecond)
	interrupt()
	require.Zero(t, <-status)
	require.Eventually(t, func() bool { return u.logins(c) == 0 }, 10*time.Second, 10*time.Millisecond)
}

// lockedBuffer is written while it is read.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestMistakes holds that each is told in one line that says what is wrong.
func TestMistakes(t *testing.T) {
	t.Parallel()
	u := startUPSD(t)
	web := scripted(t, func(string) string { return "HTTP/1.1 400 Bad Request\r\n" })
	wrong := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(wrong, []byte("wrong\n"), 0o600))
	for _, c := range []struct {
		args   string
		status int
		says   string
	}{
		{"", 2, "which UPS?"},
		{"--nosuch one", 2, "-nosuch"},
		{"--watch soon one", 2, "-watch"},
		{"--login one", 2, "--login needs --watch"},
		{"--login --watch 2m one", 2, "30s at most"},
		{"--user me one", 2, "--user and --password-file need each other"},
		{"--user me --password-file /no/such one", 2, "/no/such"},
		{"--server " + u.address + " three", 1, "knows no UPS of that name"},
		{"--server " + u.address + " one no.such", 1, "no.such of one: the UPS has no such variable"},
		{"--server 127.0.0.1:1 one", 1, "connection refused"},
		{"--server no.such.invalid one", 1, "no.such.invalid"},
		{"--server " + web + " one", 1, "is this an upsd?"},
		{"--server " + u.address + " --watch 1s three", 1, "knows no UPS of that name"},
		{"--server " + u.address + " --user watcher --password-file " + wrong + " --watch 1s --login one ups.status", 1, "upsd denies it: wrong user or password"},
	} {
		out, failed, status := command(t, strings.Fields(c.args)...)
		require.Equal(t, c.status, status, "%s: %s", c.args, failed)
		if !strings.Contains(c.args, "--login") {
			require.Empty(t, out, c.args)
		}
		require.Contains(t, failed, c.says, c.args)
		require.True(t, strings.HasPrefix(failed, "nut: ") && strings.Count(failed, "\n") == 1, "%s: %q", c.args, failed)
	}
	out, _, status := command(t, "--help")
	require.Zero(t, status)
	require.Equal(t, usage, out)
}
