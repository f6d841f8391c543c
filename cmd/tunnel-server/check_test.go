package main

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

func TestCheckAllWell(t *testing.T) {
	stateDir := newHost(t)
	key := pool.NewKey().Text()
	t.Setenv("TUNNEL_KEY", key)
	status, out, errOut := run(context.Background(), "check", "--listen", "127.0.0.1:0")
	require.Zero(t, status, out+errOut)
	require.Empty(t, errOut)
	require.Regexp(t, `(?m)^ok +listen +127\.0\.0\.1:0 is free$`, out)
	require.Regexp(t, `(?m)^ok +state dir +`+stateDir+` is made by the first start$`, out)
	require.Regexp(t, `(?m)^ok +keys +the one above is the only one; there is no `+stateDir, out)
	require.True(t, strings.HasSuffix(out, "\nAll is well.\n"), out)
	require.NoDirExists(t, stateDir, "a check makes nothing")
	require.NotContains(t, out, key)
}

func TestCheckKeys(t *testing.T) {
	stateDir := newHost(t)
	t.Setenv("TUNNEL_KEY", "")
	check := func() (int, string) {
		status, out, errOut := run(context.Background(), "check", "--listen", "127.0.0.1:0")
		return status, out + errOut
	}
	_, out := check()
	require.Regexp(t, `(?m)^ok +key +none yet: the first start makes one, in `+filepath.Join(stateDir, "key")+`$`, out)

	status, _, errOut := run(context.Background(), "key", "show")
	require.Zero(t, status, errOut)
	status, _, errOut = run(context.Background(), "key", "add", "anna")
	require.Zero(t, status, errOut)
	status, out = check()
	require.Zero(t, status, out)
	require.Regexp(t, `(?m)^ok +key +[0-9a-f]{16}, from `+filepath.Join(stateDir, "key")+`$`, out)
	require.Regexp(t, `(?m)^ok +keys +2 keys, `+filepath.Join(stateDir, "keys.yaml")+`$`, out)
	require.Regexp(t, `(?m)^ok +state dir +`+stateDir+` can be written$`, out)

	keys := filepath.Join(stateDir, "keys.yaml")
	require.NoError(t, os.Chmod(keys, 0o644))
	require.NoError(t, os.Chmod(filepath.Join(stateDir, "key"), 0o644))
	status, out = check()
	require.Zero(t, status, out)
	require.Contains(t, out, "-> others on this machine can read it: chmod 600 "+filepath.Join(stateDir, "key")+"\n")
	require.Contains(t, out, "-> others on this machine can read them: chmod 600 "+keys+"\n")
	require.Contains(t, out, "It works, with 2 warnings.\n")

	for _, name := range []string{"anna", "default"} {
		status, _, errOut = run(context.Background(), "key", "revoke", name)
		require.Zero(t, status, errOut)
	}
	_, out = check()
	require.Regexp(t, `(?m)^warning +keys +`+keys+": no client is let in\n +-> tunnel-server key add NAME makes a key$", out)

	require.NoError(t, os.WriteFile(keys, []byte("anna: {ports: x}\n"), 0o600))
	status, out = check()
	require.Equal(t, 2, status)
	require.Regexp(t, `^tunnel-server: `+keys+`, `, out)
}

func TestCheckFailures(t *testing.T) {
	newHost(t)
	t.Setenv("TUNNEL_KEY", "")
	other, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() { // ends with the listener
		defer close(done)
		for {
			c, err := other.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { other.Close(); <-done })
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	status, out, errOut := run(context.Background(), "check", "--listen", other.Addr().String(), "--state-dir", filepath.Join(file, "dir"))
	require.Equal(t, 2, status, "the keys cannot be read: %s", out)
	require.Contains(t, errOut, "not a directory")

	status, out, errOut = run(context.Background(), "check", "--listen", other.Addr().String(), "--json")
	require.Equal(t, 1, status)
	require.Equal(t, "tunnel-server: the check found 1 failure\n", errOut)
	var document struct {
		OK    bool
		Steps []struct{ Step, State, Remedy string }
	}
	require.NoError(t, json.Unmarshal([]byte(out), &document))
	require.False(t, document.OK)
	var names []string
	for _, s := range document.Steps {
		names = append(names, s.Step)
		require.Equal(t, s.Step == "listen", s.State == "failed", out)
	}
	require.Equal(t, []string{"configuration", "certificate", "listen", "public_ports", "open_files", "key", "keys", "state_dir"}, names)
}

// A configuration that the program would not start with is told of as the program
// does.
func TestCheckConfiguration(t *testing.T) {
	stateDir := newHost(t)
	for _, args := range [][]string{{"--tls", "2"}, {"--tls", "3"}, {"--allow-ports", "x"}, {"--pool-max", "0"}, {"--log-format", "xml"},
		{"--tls", "2", "--tls-cert", "main.go", "--tls-key", "main.go"}, {"--key-file", "main.go", "--listen", "127.0.0.1:0"}} {
		_, _, want := run(context.Background(), args...)
		status, out, errOut := run(context.Background(), append([]string{"check"}, args...)...)
		require.Equal(t, 2, status, out)
		require.Equal(t, want, errOut)
		require.Empty(t, out)
	}
	require.NoDirExists(t, stateDir)
}

// The check takes every flag of the program, so that its command line only needs
// one more word.
func TestCheckFlags(t *testing.T) {
	c, _, err := command().Find([]string{"check"})
	require.NoError(t, err)
	command().Flags().VisitAll(func(f *pflag.Flag) { require.NotNil(t, c.Flags().Lookup(f.Name), f.Name) })
}
