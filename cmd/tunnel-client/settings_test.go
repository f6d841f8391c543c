package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWrongSettings: every mistake in the file, in variables and between the two and
// flags is told in one line, which names the place of the value.
func TestWrongSettings(t *testing.T) {
	const good = "server: host\nreverse: {web: 8080:3000, ssh: 2222:22}\n"
	for i, c := range []struct{ file, variables, args, want string }{
		{file: "serer: host", want: `FILE:1: unknown setting "serer"; did you mean "server"?`},
		{file: good + "pool_min: 3", want: `FILE:3: unknown setting "pool_min"; did you mean "pool-min"?`},
		{file: good + "R: 1:2", want: `FILE:3: unknown setting "R"; did you mean "reverse"?`},
		{file: good + "allow-ports: 80", want: `FILE:3: unknown setting "allow-ports"; --help shows the flags, and they are the settings`},
		{file: good + "key: {KEY}", want: "FILE:3: a key does not stand in this file: put it into one of its own, and give the name of that as key-file"},
		{file: good + "group: {web: '{KEY}', {KEY}: x}", want: `FILE:3: group "{KEY}=x": no reverse is called "{KEY}"; there is "web", "ssh"`},
		{file: "reverse: 8080:3000", want: "--server is missing: give the tunnel-server's HOST or HOST:PORT"},
		{file: "server: host", want: "nothing to publish: give at least one -R, as in -R 8080:3000, or -L"},
		{file: "server: http://host\nreverse: 8080:3000", want: `FILE:1: server: "http://host" is not HOST or HOST:PORT`},
		{file: "server: host\nreverse:\n  - web=8080:3000\n  - ssh=2222:x", want: `FILE:4: reverse "ssh=2222:x": the target port "x" is not a number from 1 to 65535; FORM`},
		{file: "server: host\nreverse:\n  web: 8080:3000\n  ssh: 3000", want: `FILE:4: reverse "ssh=3000": the number of fields between colons is 1, not 2, 3 or 4; FORM`},
		{file: "server: host\nreverse:\n  web: 8080:3000\n  ssh: 8080:22", want: `FILE:4: reverse "ssh=8080:22": public port 8080 is given twice`},
		{file: "server: host\nreverse:\n  web: [8080:3000, 3001]\n  web: 81:80", want: `FILE:4: reverse: "web" is there twice`},
		{file: "server: host\nreverse:\n  web:\n    port: 8080", want: "FILE:4: reverse: want one value here, or a list of them"},
		{file: "server: host\nforward:\n  db: [5432:db:5432]", want: "FILE:3: forward: want one value here"},
		{file: "server: host\nforward:\n  db: db:5432", want: `FILE:3: forward "db=db:5432": the port to listen on "db" is not a number from 0 to 65535; LFORM`},
		{file: good + "rate:\n  web: 50", want: `FILE:4: rate "50": "50" has no unit; write a number and kbit, Mbit, Gbit, KB, MB or GB, for example 50Mbit or 6.25MB`},
		{file: good + "rate:\n  web: 1Mbit\n  wbe: 50Mbit", want: `FILE:5: rate "wbe=50Mbit": no reverse is called "wbe"; there is "web", "ssh"`},
		{file: good + "health: icmp", want: `FILE:3: health "icmp": want "tcp" or "http:/PATH"`},
		{file: good + "health-interval: 1s", want: `FILE:3: health-interval "1s": no service has a --health`},
		{file: good + "allow-from: {ssh: [10.0.0.0/8, 10.1.2.3/8]}", want: `FILE:3: allow-from "10.0.0.0/8,10.1.2.3/8": 10.1.2.3/8 has bits behind its prefix; is 10.0.0.0/8 meant, or 10.1.2.3?`},
		{file: good + "pool-min: 600", want: "FILE:3: --pool-max 512 is below pool-min 600"},
		{file: good + "pool-min: 9\npool-max: 8", want: "FILE:4: pool-max 8 is below pool-min 9"},
		{file: good + "pool-min: 9", variables: "TUNNEL_POOL_MAX=8", want: "FILE:3: TUNNEL_POOL_MAX 8 is below pool-min 9"},
		{file: good + "pool-min: 9", args: "--pool-max 8", want: "FILE:3: --pool-max 8 is below pool-min 9"},
		{file: good, variables: "TUNNEL_POOL_MIN=0", want: "TUNNEL_POOL_MIN 0: want at least 1"},
		{file: good, args: "--pool-min 0", want: "--pool-min 0: want at least 1"},
		{file: good + "carriers: 3", want: "FILE:3: carriers 3: want 0 to 2"},
		{file: good + "drain: 10", want: `FILE:3: drain: "10" is not a time with its unit, as in 500ms, 5s or 2m`},
		{file: good + "tls-ca: ca.pem", want: "FILE:3: tls-ca and --tls-name are for --tls 2; with --tls 1 nothing is verified"},
		{file: good + "tls: 2\ntls-ca: ca.pem", want: "FILE:4: tls-ca: open DIR/ca.pem: no such file or directory"},
		{file: good + "name: ''", want: "FILE:3: name: has no value: give it one, or leave it out"},
		{file: good + "name: &me x", want: "FILE:3: name: anchors and aliases are not for this file; write the value out"},
		{file: good + "server: other", want: "FILE:3: server is there twice, first in line 1"},
		{file: good + "udp-idle: {web: 5s}", want: `FILE:3: udp-idle "web=5s": it is for UDP, and no reverse is one of udp/`},
		{variables: "TUNNEL_REVERSE=8080:3000 x", args: "--server host", want: `TUNNEL_REVERSE "x": the number of fields between colons is 1, not 2, 3 or 4; FORM`},
		{variables: "TUNNEL_SERVER=a:b:1", args: "-R 8080:3000", want: `TUNNEL_SERVER: "a:b:1" is not HOST or HOST:PORT`},
		{variables: "TUNNEL_MAX_STREAMS_PER_SERVICE=nope=1", args: "--server host -R 8080:3000", want: `TUNNEL_MAX_STREAMS_PER_SERVICE "nope=1": no -R is called "nope"; there is "8080"`},
		{variables: "TUNNEL_LOG_LEVEL=loud", want: `TUNNEL_LOG_LEVEL "loud": want debug, info, warn, error or none`},
		{file: good, args: "-R x", want: `-R "x": the number of fields between colons is 1, not 2, 3 or 4; FORM`},
	} {
		t.Run(strconv.Itoa(i), func(t *testing.T) { // no words: they would be in paths, and may look like a key there
			t.Log(c.args, c.variables, c.file)
			stateDir, key := newHost(t)
			if name, value, ok := strings.Cut(c.variables, "="); ok {
				t.Setenv(name, value)
			}
			args, path := strings.Fields(c.args), ""
			if c.file != "" {
				path = filepath.Join(t.TempDir(), "client.yaml")
				require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(c.file, "{KEY}", key)), 0o600))
				args = append(args, "--config", path)
			}
			status, out, errOut := run(context.Background(), args...)
			require.Equal(t, 2, status, errOut)
			want := strings.NewReplacer("FILE", path, "DIR", filepath.Dir(path), "{KEY}", "(a key, not shown)",
				"LFORM", "the form is [NAME=][udp/][BIND:]PORT:[HOST:]HOSTPORT, as in 5432:db:5432",
				"FORM", "the form is [NAME=][udp/][BIND:]PORT:[HOST:]HOSTPORT, as in 8080:3000").Replace(c.want)
			require.Equal(t, "tunnel-client: "+want+"\n", errOut)
			require.Empty(t, out)
			require.NotContains(t, errOut, key[:12])
			require.NoDirExists(t, stateDir)
		})
	}
}
