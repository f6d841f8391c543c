package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// mustRun runs a command that has to succeed.
func mustRun(t *testing.T, args ...string) (out string) {
	t.Helper()
	status, out, errOut := run(context.Background(), args...)
	require.Zero(t, status, errOut)
	require.Empty(t, errOut)
	return out
}

func TestKeyCommands(t *testing.T) {
	stateDir := newHost(t)
	added := mustRun(t, "key", "add", "anna", "--ports", "8000-8099", "--forward", "db:5432,*:443", "--max-streams", "9", "--rate", "6.25MB")
	key, err := pool.ParseKey(strings.TrimSpace(added))
	require.NoError(t, err)
	require.Equal(t, added, mustRun(t, "key", "show", "anna"))
	require.NoFileExists(t, filepath.Join(stateDir, "key"), "the first start makes the other one")

	list := mustRun(t, "key", "list")
	require.NotContains(t, list, key.Text())
	require.Regexp(t, `(?m)^default  +- +all +all +- +- +not made yet$`, list)
	require.Regexp(t, `(?m)^anna +`+key.ID().String()+` +8000-8099 +db:5432,\*:443 +9 +50Mbit +on$`, list)

	_, first, _ := run(context.Background(), "key", "show") // which says that it makes one
	require.Equal(t, first, mustRun(t, "key", "show", "default"))
	firstKey, err := pool.ParseKey(strings.TrimSpace(first))
	require.NoError(t, err)
	require.Regexp(t, `(?m)^default +`+firstKey.ID().String()+` +all +all +- +- +on$`, mustRun(t, "key", "list"))

	status, _, errOut := run(context.Background(), "key", "add", "anna")
	require.Equal(t, 2, status)
	require.Contains(t, errOut, `there is a key "anna" already, in line `)

	require.Equal(t, "Key \"anna\" is revoked. No server was found running with this state directory; one that has no control socket ends its connections within a second.\n", mustRun(t, "key", "revoke", "anna"))
	require.NotContains(t, mustRun(t, "key", "list"), "anna")
	status, _, errOut = run(context.Background(), "key", "revoke", "anna")
	require.Equal(t, 2, status)
	require.Contains(t, errOut, `there is no key "anna" in `+filepath.Join(stateDir, "keys.yaml"))
	mustRun(t, "key", "revoke", "default")
	require.Regexp(t, `(?m)^default .* off$`, mustRun(t, "key", "list"))
}

// TestStartWithMalformedKeys: nothing is served, and nothing made, with keys
// that cannot be read.
func TestStartWithMalformedKeys(t *testing.T) {
	stateDir := newHost(t)
	require.NoError(t, os.MkdirAll(stateDir, 0o700))
	path := filepath.Join(stateDir, "keys.yaml")
	require.NoError(t, os.WriteFile(path, []byte("anna:\n  kye: x\n"), 0o600))
	for _, args := range [][]string{{"--listen", "127.0.0.1:0"}, {"key", "list"}, {"key", "add", "ben"}, {"key", "revoke", "anna"}, {"key", "show", "anna"}} {
		status, out, errOut := run(context.Background(), args...)
		require.Equal(t, 2, status)
		require.Empty(t, out)
		require.Equal(t, "tunnel-server: "+path+`, line 2: anna: unknown field "kye"; is "key" meant?`+"\n", errOut)
	}
	require.NoFileExists(t, filepath.Join(stateDir, "key"))
}
