package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// withFile writes a configuration file and returns its name.
func withFile(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "server.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// TestWrongSettings: every mistake in the file, in variables and between the two and
// flags is told in one line, which names the place of the value.
func TestWrongSettings(t *testing.T) {
	const noListen = "listen: 192.0.2.1:0\n" // which fails, if all before it is right
	for i, c := range []struct{ file, variables, args, want string }{
		{file: "alow-ports: 80", want: `FILE:1: unknown setting "alow-ports"; did you mean "allow-ports"?`},
		{file: "listen: :0\nreverse: 80:80", want: `FILE:2: unknown setting "reverse"; --help shows the flags, and they are the settings`},
		{file: "allow-port:\n- 80", want: `FILE:1: unknown setting "allow-port"; did you mean "allow-ports"?`},
		{file: "key: {KEY}", want: "FILE:1: a key does not stand in this file: put it into one of its own, and give the name of that as key-file"},
		{file: "'{KEY}': x", want: `FILE:1: unknown setting "(a key, not shown)"; --help shows the flags, and they are the settings`},
		{file: "log-level: '{KEY}'", want: `FILE:1: log-level "(a key, not shown)": want debug, info, warn, error or none`},
		{file: "key-file: '{KEY}'", want: "FILE:1: key-file: stat DIR/(a key, not shown): no such file or directory", args: "--listen 127.0.0.1:0"},
		{file: "tls-key: |\n  -----BEGIN PRIVATE KEY-----\n  abc", want: "FILE:1: tls-key: want one line here"},
		{variables: "TUNNEL_TLS_KEY=-----BEGIN PRIVATE KEY-----", want: "TUNNEL_TLS_KEY: wants the name of a file, and not what is in it"},
		{file: "pool-max: many", want: `FILE:1: pool-max: "many" is not a whole number`},
		{file: "pool-max: 0", want: "FILE:1: pool-max 0: want at least 1"},
		{file: "\npool-max: 2000000", want: "FILE:2: pool-max: 2000000 is not between 1 and 1048576"},
		{file: "pool-max: [1, 2]", want: "FILE:1: pool-max: want one value here"},
		{file: "heartbeat: 5", want: `FILE:1: heartbeat: "5" is not a time with its unit, as in 500ms, 5s or 2m`},
		{file: "heartbeat: 1h", want: "FILE:1: heartbeat: 1h0m0s is not between 10ms and 10m0s"},
		{file: "wait: 0s", want: "FILE:1: wait 0s: want more than 0"},
		{file: "drain: -1s", want: "FILE:1: drain -1s: want 0 or more"},
		{file: "bind: localhost", want: `FILE:1: bind: "localhost" is not an IP address`},
		{file: "bind:", want: "FILE:1: bind: has no value: give it one, or leave it out"},
		{file: "tls: yes", want: `FILE:1: tls: unknown TLS mode "yes": use 0 (plain TCP), 1 (self-signed) or 2 (verified)`},
		{file: "tls: 2", want: "FILE:1: tls 2 needs --tls-cert and --tls-key"},
		{file: "# TLS\ntls-cert: c.pem", want: "FILE:2: tls-cert and --tls-key go together"},
		{file: "tls-cert: c.pem", variables: "TUNNEL_TLS_KEY=k.pem", want: "FILE:1: tls-cert is for --tls 2; with --tls 1 nobody would verify it"},
		{file: "tls-cert: c.pem\ntls-key: k.pem\ntls: 2", want: "FILE:1: tls-cert DIR/c.pem, tls-key DIR/k.pem: open DIR/c.pem: no such file or directory"},
		{variables: "TUNNEL_TLS=2", args: "--tls-cert x", want: "--tls-cert and --tls-key go together"},
		{file: "allow-ports: [80, http]", want: `FILE:1: allow-ports: "http" is not a port from 1 to 65535; write ports and ranges separated by commas, for example 443,1024-65535`},
		{file: "allow-ports: 9-8", want: "FILE:1: allow-ports: range 9-8 runs backwards; write the lower port first, 8-9"},
		{file: "allow-from:\n  - example.com", want: `FILE:1: allow-from: "example.com" is not a prefix; write prefixes and addresses separated by commas, for example 10.0.0.0/8,2001:db8::/32`},
		{file: "log-level: loud", want: `FILE:1: log-level "loud": want debug, info, warn, error or none`},
		{file: "listen: 10101", want: `FILE:1: listen "10101": want [ADDRESS]:PORT, as in :10101`},
		{file: "state-dir: server.yaml\nlisten: 127.0.0.1:0", want: "open FILE/keys.yaml: not a directory"},
		{file: "wait: 1s\nwait: 2s", want: "FILE:2: wait is there twice, first in line 1"},
		{file: "allow-ports:\n\t- 80", want: "FILE:2: a tab in front of the text; YAML wants spaces there"},
		{file: "wait: 1s\n---\nwait: 2s", want: "FILE:2: the file should end here, and there is one more document"},
		{file: "wait: \"1s", want: "FILE:1: near this line the file is no YAML: found unexpected end of stream"},
		{file: "wait", want: "FILE:1: want settings, one a line, as in pool-max: 64"},
		{file: " ", want: "FILE is empty; write settings into it, or a comment if there are to be none"},
		{file: noListen + "\xfe", want: "FILE:2: a control character, or a byte that is no UTF-8"},
		{args: "--config nx.yaml", want: "--config: open nx.yaml: no such file or directory"},
		{args: "--config .", want: "--config: . is a directory, and a YAML file is wanted"},
		{args: "--config=", want: "--config is empty: give it a value, or leave it out"},
		{args: "--config", want: "flag needs an argument: --config; see --help"},
		{variables: "TUNNEL_CONFIG=nx.yaml", want: "TUNNEL_CONFIG: open nx.yaml: no such file or directory"},
		{variables: "TUNNEL_POOL_MAX=x", want: `TUNNEL_POOL_MAX: "x" is not a whole number`},
		{variables: "TUNNEL_POOL_MAX=-1", want: "TUNNEL_POOL_MAX -1: want at least 1"},
		{variables: "TUNNEL_DRAIN=soon", want: `TUNNEL_DRAIN: "soon" is not a time with its unit, as in 500ms, 5s or 2m`},
		{variables: "TUNNEL_LISTEN=1:2:3", want: `TUNNEL_LISTEN "1:2:3": want [ADDRESS]:PORT, as in :10101`},
		{variables: "TUNNEL_TLS_CLIENT_CA=x", want: "TUNNEL_TLS_CLIENT_CA is for --tls 2"},
		{file: "pool-max: x", variables: "TUNNEL_POOL_MAX=5", args: "--pool-max 7", want: `FILE:1: pool-max: "x" is not a whole number`},
		{file: "pool-max: 0", variables: "TUNNEL_POOL_MAX=-5", args: "--pool-max -7", want: "--pool-max -7: want at least 1"},
		{file: "wiat: 1s", args: "key list", want: `FILE:1: unknown setting "wiat"; did you mean "wait"?`},
		{file: "key-file: nx", args: "key list", want: "FILE:1: key-file: stat DIR/nx: no such file or directory"},
		{file: "max-streams: 7\nstate-dir: server.yaml", args: "key add anna", want: "FILE:2: no place for state: mkdir FILE: not a directory; name another with state-dir"},
	} {
		t.Run(strconv.Itoa(i), func(t *testing.T) { // no words: they would be in paths, and may look like a key there
			t.Log(c.args, c.variables, c.file)
			newHost(t)
			if strings.Contains(c.file, "listen:") {
				t.Setenv("TUNNEL_LISTEN", "") // which would go before it
			}
			key := pool.NewKey().Text()
			if name, value, ok := strings.Cut(c.variables, "="); ok {
				t.Setenv(name, value)
			}
			args := strings.Fields(c.args)
			path := ""
			if c.file != "" {
				path = withFile(t, strings.ReplaceAll(c.file, "{KEY}", key))
				args = append(args, "--config", path)
			}
			status, out, errOut := run(context.Background(), args...)
			require.Equal(t, 2, status, errOut)
			want := strings.NewReplacer("FILE", path, "DIR", filepath.Dir(path)).Replace(c.want)
			require.Equal(t, "tunnel-server: "+want+"\n", errOut)
			require.Empty(t, out)
			require.NotContains(t, errOut, key[:12])
		})
	}
}

// TestCommandsTakeSettings: a command has the program's settings that it has flags
// for.
func TestCommandsTakeSettings(t *testing.T) {
	newHost(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "server.yaml")
	require.NoError(t, os.WriteFile(path, []byte("state-dir: state\npool-max: 7\nmax-streams: 5\n"), 0o600))
	status, key, errOut := run(context.Background(), "key", "add", "anna", "--config", path)
	require.Zero(t, status, errOut)
	require.FileExists(t, filepath.Join(dir, "state", "keys.yaml"), "relative to the file")
	text, err := os.ReadFile(filepath.Join(dir, "state", "keys.yaml"))
	require.NoError(t, err)
	require.Contains(t, string(text), strings.TrimSpace(key))
	require.NotContains(t, string(text), "\n  max-streams: 5", "the server's is not the key's")
	t.Setenv("TUNNEL_CONFIG", path)
	status, out, errOut := run(context.Background(), "key", "list")
	require.Zero(t, status, errOut)
	require.Contains(t, out, "anna")
	t.Setenv("TUNNEL_STATE_DIR", t.TempDir())
	_, out, _ = run(context.Background(), "key", "list")
	require.NotContains(t, out, "anna", "the variable goes before the file")
	_, out, _ = run(context.Background(), "key", "list", "--state-dir", filepath.Join(dir, "state"))
	require.Contains(t, out, "anna", "and the flag before the variable")

	t.Setenv("TUNNEL_CONFIG", filepath.Join(dir, "nx"))
	for _, args := range [][]string{{"--help"}, {"--version"}, {"key"}, {"help", "key"}, {"completion", "bash"}, {"man"}, {"__complete", "--l"}} {
		status, _, errOut := run(context.Background(), args...)
		require.Zero(t, status, "%v does not read the file: %s", args, errOut)
	}
}
