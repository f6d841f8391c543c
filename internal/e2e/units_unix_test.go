//go:build unix

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// deployed returns a file of deploy/ with replacements, all of which must have
// something to replace.
func deployed(t *testing.T, path string, replacements ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "deploy", path))
	require.NoError(t, err)
	text := string(data)
	for i := 0; i < len(replacements); i += 2 {
		require.Contains(t, text, replacements[i], path)
		text = strings.ReplaceAll(text, replacements[i], replacements[i+1])
	}
	return text
}

// execStart returns the command of a unit.
func execStart(t *testing.T, unit string, replacements ...string) (program string, args []string) {
	t.Helper()
	found := regexp.MustCompile(`(?m)^ExecStart=(.*)$`).FindStringSubmatch(deployed(t, "systemd/"+unit, replacements...))
	require.NotNil(t, found)
	words := strings.Fields(found[1])
	return words[0], words[1:]
}

// TestUnitsAndExamples runs what the systemd units run, with the examples of
// configuration, and tells systemd what it wants to know.
func TestUnitsAndExamples(t *testing.T) {
	for _, unit := range []struct{ client, configuration, key string }{
		{"tunnel-client.service", "/etc/tunnelpool/client.yaml", "/etc/tunnelpool/key"},
		{"tunnel-client@.service", "/etc/tunnelpool/%i.yaml", "/etc/tunnelpool/%i.key"},
	} {
		t.Run(unit.client, func(t *testing.T) {
			etc, tunnel, public := t.TempDir(), freePort(t), freePort(t)
			place := func(name, text string) string {
				path := filepath.Join(etc, name)
				require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
				return path
			}
			key := newKey()
			atServer, atClient := newServiceManager(t), newServiceManager(t)

			host := newHost(t, key)
			host.env = atServer.env()
			configuration := place("server.yaml", deployed(t, "etc/server.yaml", `":10101"`, "127.0.0.1:"+tunnel, "8000-8099", public))
			server, args := execStart(t, "tunnel-server.service", "/etc/tunnelpool/server.yaml", configuration)
			at := host.start(server, args...)
			atServer.until(`READY=1`)

			home := newHost(t, "")
			home.env = atClient.env()
			configuration = place("client.yaml", deployed(t, "etc/client.yaml", "tunnel.example.com", "127.0.0.1:"+tunnel,
				"8080:3000", public+":"+web(t, "a page")))
			require.Contains(t, deployed(t, "systemd/"+unit.client), "LoadCredential=key:"+unit.key+"\n")
			client, args := execStart(t, unit.client, unit.configuration, configuration, "${CREDENTIALS_DIRECTORY}/key", place("key", key))
			there := home.start(client, args...)
			atClient.until(`READY=1`)
			atServer.until(`STATUS=1 client, 1 service, 0 users`)
			require.Equal(t, "a page", fetch(t, "127.0.0.1:"+public))
			require.Contains(t, deployed(t, "systemd/"+unit.client), "ExecReload=kill -HUP $MAINPID\n")
			there.signal(syscall.SIGHUP)
			atClient.until(`RELOADING=1`)
			if runtime.GOOS == "linux" {
				atClient.until(`MONOTONIC_USEC=\d+`)
			}
			atClient.until(`READY=1`)
			there.stop()
			atClient.until(`STOPPING=1`)
			at.stop()
		})
	}
}
