package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWarming: on a terminal, in the text form, a client shows below its lines
// how far its pool is, and wipes that before each line. Elsewhere it does not.
func TestWarming(t *testing.T) {
	t.Parallel()
	const stamp = `^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  (\x1b\[\d+m)?(INFO|WARN)(\x1b\[0m)?  \S`
	const progress, wipe = "warming: ", "\r\x1b[K"
	_, address, key := startServer(t)
	args := []string{"--server", address, "--pool-min", "300", "-R", "web=0:127.0.0.1:1"}
	t.Run("terminal", func(t *testing.T) {
		t.Parallel()
		reader, screen := openTerminal(t)
		client := newHost(t, key).startOn(reader, screen, "tunnel-client", args...)
		client.line(`Service "web" is up`)
		client.stop()
		require.Regexp(t, progress+`\d+ of 300 connections`, client.text())
		for line := range strings.SplitSeq(client.text(), "\n") {
			shown := strings.Split(line, wipe)
			for _, wiped := range shown[:len(shown)-1] {
				require.Regexp(t, `^`+progress+`\d+ of 300 connections$`, wiped)
			}
			require.Regexp(t, stamp, shown[len(shown)-1], "what is left in the line")
		}
		_, after, _ := strings.Cut(client.text(), " is up: ")
		require.NotContains(t, after, progress)
	})
	t.Run("terminal, for programs", func(t *testing.T) {
		t.Parallel()
		reader, screen := openTerminal(t)
		client := newHost(t, key).startOn(reader, screen, "tunnel-client", append(args, "--log-format=json")...)
		client.line(`"event":"service_up"`)
		client.stop()
		require.NotContains(t, client.text(), progress)
	})
	t.Run("no terminal", func(t *testing.T) {
		t.Parallel()
		client := newHost(t, key).start("tunnel-client", args...)
		client.line(`Service "web" is up`)
		client.stop()
		require.NotContains(t, client.text(), progress)
		require.NotContains(t, client.text(), "\x1b")
	})
}
