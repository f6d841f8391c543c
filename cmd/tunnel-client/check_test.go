package main

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/tunnel"
)

// startServer runs a server that holds a key until the test ends.
func startServer(t *testing.T, key string) (address string) {
	t.Helper()
	k, err := pool.ParseKey(key)
	require.NoError(t, err)
	s, err := tunnel.NewServer(tunnel.ServerConfig{Listen: "127.0.0.1:0", Bind: "127.0.0.1", Keys: []pool.Key{k}})
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Run(context.Background()) }() // ends with Close
	t.Cleanup(func() {
		s.Close()
		require.NoError(t, <-done)
	})
	return s.Addr().String()
}

// target is something to publish.
func target(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func TestCheckAllWell(t *testing.T) {
	stateDir, key := newHost(t)
	at := startServer(t, key)
	status, out, errOut := run(context.Background(), "check", "--server", at, "-R", "web=0:127.0.0.1:"+target(t))
	require.Zero(t, status, out+errOut)
	require.Empty(t, errOut)
	require.Regexp(t, `(?m)^ok +key +[0-9a-f]{16}, from TUNNEL_KEY$`, out)
	require.Regexp(t, `(?m)^ok +[0-9.]+ ms  round trip +median of 5 pings`, out)
	require.Regexp(t, `(?m)^ok +[0-9.]+ ms  service +web: a port of the server's choice is allowed$`, out)
	require.True(t, strings.HasSuffix(out, "\nAll is well.\n"), out)
	require.NotContains(t, out, key)
	require.NotContains(t, out, "\x1b", "no colours where nobody looks")
	require.NoDirExists(t, stateDir, "a check makes nothing")
}

func TestCheckKeyThatOthersCanRead(t *testing.T) {
	_, key := newHost(t)
	t.Setenv("TUNNEL_KEY", "")
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, []byte(key), 0o600))
	require.NoError(t, os.Chmod(path, 0o644))
	at := startServer(t, key)
	status, out, _ := run(context.Background(), "check", "--server", at, "--key-file", path, "-R", "0:127.0.0.1:"+target(t))
	require.Zero(t, status, out)
	require.Regexp(t, `(?m)^warning +key +[0-9a-f]{16}, from `+path+"\n +-> others on this machine can read it: chmod 600 "+path+`$`, out)
	require.True(t, strings.HasSuffix(out, "\nIt works, with 1 warning.\n"), out)
}

func TestCheckFailures(t *testing.T) {
	_, key := newHost(t)
	at := startServer(t, key)
	status, out, errOut := run(context.Background(), "check", "--server", at, "-R", "80:127.0.0.1:1")
	require.Equal(t, 1, status)
	require.Equal(t, "tunnel-client: the check found 2 failures\n", errOut)
	require.Regexp(t, `(?m)^failed +[0-9.]+ ms  service +80: port 80 is not among those of the server's --allow-ports \(1024-65535\)\n {33}-> choose another port$`, out)
	require.Regexp(t, `(?m)^failed +[0-9.]+ ms  target +80: target 127\.0\.0\.1:1 refused the connection\n {33}-> is it running\?$`, out)

	t.Setenv("TUNNEL_KEY", pool.NewKey().Text())
	status, out, errOut = run(context.Background(), "check", "--server", at, "-R", "8080:127.0.0.1:"+target(t), "--json")
	require.Equal(t, 1, status)
	require.Equal(t, "tunnel-client: the check found 1 failure\n", errOut)
	var document struct {
		Program string
		OK      bool
		Steps   []map[string]any
	}
	require.NoError(t, json.Unmarshal([]byte(out), &document))
	require.Equal(t, "tunnel-client", document.Program)
	require.False(t, document.OK)
	states := make(map[string]any)
	for _, s := range document.Steps {
		states[s["step"].(string)] = s["state"]
	}
	require.Equal(t, map[string]any{"configuration": "ok", "key": "ok", "name": "ok", "connect": "ok", "tls": "ok",
		"proof": "failed", "session": "skipped", "round_trip": "skipped", "pooled": "skipped", "service": "skipped", "target": "ok"}, states)
}

// A configuration that the program would not start with is told of as the program
// does; in JSON there is a document too.
func TestCheckConfiguration(t *testing.T) {
	stateDir, key := newHost(t)
	for _, args := range [][]string{{}, {"--server", "a:b:1", "-R", "1:2"}, {"--server", "x", "-R", "1:2", "--log-level", "loud"}, {"--server", "x", "-R", key}} {
		_, _, want := run(context.Background(), args...)
		status, out, errOut := run(context.Background(), append([]string{"check"}, args...)...)
		require.Equal(t, 2, status)
		require.Equal(t, want, errOut)
		require.Empty(t, out)
		status, out, errOut = run(context.Background(), append([]string{"check", "--json"}, args...)...)
		require.Equal(t, 2, status)
		require.Equal(t, want, errOut)
		require.Contains(t, out, `"step": "configuration"`)
		require.NotContains(t, out+errOut, key[:12])
	}
	t.Setenv("TUNNEL_KEY", "")
	status, _, errOut := run(context.Background(), "check", "--server", "x", "-R", "1:2")
	require.Equal(t, 2, status)
	require.Contains(t, errOut, "tunnel-server key show")
	require.NoDirExists(t, stateDir)
}

// The check takes every flag of the program, so that its command line only needs
// one more word.
func TestCheckFlags(t *testing.T) {
	c, _, err := command().Find([]string{"check"})
	require.NoError(t, err)
	command().Flags().VisitAll(func(f *pflag.Flag) { require.NotNil(t, c.Flags().Lookup(f.Name), f.Name) })
}

// The check reads variables and the file as the program does.
func TestCheckSettings(t *testing.T) {
	_, key := newHost(t)
	file := filepath.Join(t.TempDir(), "client.yaml")
	require.NoError(t, os.WriteFile(file, []byte("server: "+startServer(t, key)+"\nreverse: {web: '0:127.0.0.1:"+target(t)+"'}\n"), 0o600))
	t.Setenv("TUNNEL_CONFIG", file)
	t.Setenv("TUNNEL_POOL_MIX", "3")
	status, out, errOut := run(context.Background(), "check")
	require.Zero(t, status, out+errOut)
	require.Regexp(t, `(?m)^warning +configuration +There is no variable TUNNEL_POOL_MIX; is TUNNEL_POOL_MI.+ meant\?$`, out)
	require.Regexp(t, `(?m)^ok .*target +web: `, out)
	t.Setenv("TUNNEL_TLS", "7")
	status, out, errOut = run(context.Background(), "check")
	require.Equal(t, 2, status, out)
	require.Regexp(t, `^tunnel-client: .*TUNNEL_TLS.*unknown TLS mode "7"`, errOut)
}
