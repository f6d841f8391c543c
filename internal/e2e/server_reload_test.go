package e2e

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// refuses waits until nobody is let in at an address.
func refuses(t *testing.T, address string) {
	t.Helper()
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err != nil
	}, patience, time.Millisecond, "the port closes")
}

// TestServerReload: what a server allows changes while streams run; what is wrong
// changes nothing; and what needs a restart is named.
func TestServerReload(t *testing.T) {
	t.Parallel()
	keeps, loses := freePort(t), freePort(t)
	const base = "listen: 127.0.0.1:0\nbind: 127.0.0.1\n"
	file := newConfigFile(t, base+"allow-ports: ["+keeps+", "+loses+"]\n")
	key, target := newKey(), echo(t)
	h := newHost(t, key)
	anna := place{t, t.TempDir()}
	anna.put("key", []byte(h.prints("tunnel-server", "key", "add", "anna")))
	server := h.start("tunnel-server", "--config", file.path)
	address := server.line(listening)[1]
	client := startClient(t, key, address, "-R", "keeps="+keeps+":"+target, "-R", "loses="+loses+":"+target)
	var flows []*flow
	for range 25 {
		flows = append(flows, startFlow(t, client.public("keeps")), startFlow(t, client.public("loses")))
	}
	flowsOn(t, flows)

	file.write(base + "allow-ports: http\n")
	server.line(`WARN +` + file.path + `:3: allow-ports: "http" is not a port .*; the configuration stays as it was`)
	file.write(base + "allow-ports: [" + keeps + ", " + loses + "]\npool-max: 0\n")
	server.line(`WARN +` + file.path + `:4: pool-max 0: want at least 1; the configuration stays as it was`)
	file.write(base + "key-file: " + anna.path("key") + "\nwait: 7s\n")
	server.line(`WARN +` + file.path + `:3: key-file \S+: the keys "default" and "anna" are the same; the configuration stays as it was`)
	late := startFlow(t, client.public("loses"))
	flowsOn(t, append(flows, late))
	flows = append(flows, late)

	file.write(base + "allow-ports: " + keeps + "\nwait: 3s\n")
	server.line(`INFO +The configuration has changed: allow-ports, wait`)
	refuses(t, "127.0.0.1:"+loses)
	flowsOn(t, flows)

	file.write(base + "allow-ports: [" + keeps + ", " + loses + "]\nwait: 3s\nlog-level: warn\n")
	server.signal(syscall.SIGHUP)
	require.Eventually(t, func() bool { return client.count(`"loses" is up: `) >= 2 }, patience, time.Millisecond)
	late = startFlow(t, "127.0.0.1:"+loses)
	flowsOn(t, []*flow{late})
	finish(t, append(flows, late))
	require.Equal(t, 1, server.count("The configuration has changed"), "the level is warn by then")
}

// TestWhatNeedsARestart: docs/CONFIGURATION.md says which settings do, and the
// programs say the same.
func TestWhatNeedsARestart(t *testing.T) {
	t.Parallel()
	key := newKey()
	const base = "listen: 127.0.0.1:0\nbind: 127.0.0.1\n"
	file := newConfigFile(t, base)
	server := newHost(t, key).start("tunnel-server", "--config", file.path)
	address := server.line(listening)[1]
	cert, private := newAuthority(t).issue(t, "localhost")
	file.write("listen: 127.0.0.1:1\nbind: 127.0.0.2\ntls: 2\ntls-cert: " + cert + "\ntls-key: " + private + "\nstate-dir: other\nheartbeat: 7s\nadmin: 127.0.0.1:0\nlog-format: json\nwait: 3s\n")
	server.line(`The configuration has changed: tls-cert, tls-key, wait`)
	server.line(`(?m)needs a restart: listen, bind, tls, state-dir, heartbeat, admin, log-format$`)
	client := startClient(t, key, address, "-R", "web=0:"+web(t, "a page"))
	require.Equal(t, "a page", fetch(t, client.public("web")), "it runs on as it was")

	file.write(base + `allow-ports: 1024-65000
allow-forward: db:5432
allow-from: 127.0.0.0/8
trust-proxy: 10.0.0.0/8
pool-max: 100
wait: 4s
linger: 5s
max-sessions: 100
max-streams: 100
max-streams-per-service: 50
max-flows: 40
drain: 1s
log-level: debug
`)
	server.line(`The configuration has changed: allow-ports, allow-forward, allow-from, trust-proxy, tls-cert, tls-key, pool-max, wait, linger, max-sessions, max-streams, max-streams-per-service, max-flows, drain, log-level`)
	require.Equal(t, 1, server.count("needs a restart"))
	require.Equal(t, "a page", fetch(t, client.public("web")))
}
