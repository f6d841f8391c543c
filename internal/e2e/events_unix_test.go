//go:build unix

package e2e

import (
	"context"
	"encoding/json"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// line is one of the JSON form.
type line map[string]any

// logged waits until a program has ended and returns its lines, each of which
// must be an event of docs/LOGS.md with no other keys than there.
func logged(t *testing.T, p *process) (lines []line) {
	t.Helper()
	p.status()
	documented, _ := eventsInDocument(t)
	for text := range strings.SplitSeq(p.text(), "\n") {
		var l line
		require.NoError(t, json.Unmarshal([]byte(text), &l), "%s", text)
		for _, key := range always {
			require.IsType(t, "", l[key], "%s in %s", key, text)
			require.NotEmpty(t, l[key], "%s in %s", key, text)
		}
		_, err := time.Parse(time.RFC3339Nano, l["time"].(string))
		require.NoError(t, err)
		e, ok := documented[l["event"].(string)]
		require.True(t, ok, "no event of the document: %s", text)
		require.True(t, e.levels[l["level"].(string)], "another level than documented: %s", text)
		for key := range l {
			require.True(t, e.keys[key] || slices.Contains(always, key), "key %s is not documented: %s", key, text)
		}
		lines = append(lines, l)
	}
	return lines
}

// the finds the one event of that name.
func the(t *testing.T, lines []line, event string) line {
	t.Helper()
	var found []line
	for _, l := range lines {
		if l["event"] == event {
			found = append(found, l)
		}
	}
	require.Len(t, found, 1, event)
	return found[0]
}

// with checks keys and values of an event; nil is any value.
func (l line) with(t *testing.T, want line) {
	t.Helper()
	got := make(line)
	for key, value := range l {
		if wanted, ok := want[key]; ok && wanted == nil {
			value = nil
		}
		if !slices.Contains(always, key) {
			got[key] = value
		}
	}
	require.Equal(t, want, got, "%s: %s", l["event"], l["msg"])
}

// stand stops a program, and returns when it stands still: the signal alone is
// on its way for a while.
func stand(t *testing.T, p *process) {
	t.Helper()
	ps, err := exec.LookPath("ps")
	if err != nil {
		t.Skip("there is no ps to see that a program stands still")
	}
	p.signal(syscall.SIGSTOP)
	require.Eventually(t, func() bool {
		state, err := exec.Command(ps, "-o", "stat=", "-p", strconv.Itoa(p.cmd.Process.Pid)).Output()
		return err == nil && strings.HasPrefix(string(state), "T")
	}, patience, 5*time.Millisecond)
}

// TestJSONLog is a session in the JSON form: join, services up and denied, a
// target that is down, a user lost to a client that stands still, and its end.
func TestJSONLog(t *testing.T) {
	t.Parallel()
	const everything = "--log-level=debug --log-format=json"
	port, key := freePort(t), newKey()
	server := newHost(t, key).start("tunnel-server", append(strings.Fields(everything),
		"--listen", "127.0.0.1:0", "--bind", "127.0.0.1", "--allow-ports", port, "--wait", "1s")...)
	address := server.line(`"event":"started".*"listener":"([^"]+)"`)[1]
	client := newHost(t, key).start("tunnel-client", append(strings.Fields(everything), "--server", address, "--name", "pi",
		"--pool-min", "4", "-R", "web="+port+":127.0.0.1:1", "-R", "not=1:127.0.0.1:1")...)
	client.line(`"event":"service_up"`)
	client.line(`"event":"service_denied"`)
	public := "127.0.0.1:" + port

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if c, err := fromHere(ctx, public); err == nil { // the reset may come before connect returns
		c.Close()
	}
	client.line(`"event":"target_failed"`)
	stand(t, client)
	talk := beginTalk(t, fromHere, public)
	_, err := talk.c.Write([]byte("said, so that it cannot be said again to another"))
	require.NoError(t, err)
	talk.cut()
	server.line(`"event":"user_lost"`)
	client.signal(syscall.SIGCONT)
	client.stop()
	server.line(`"event":"client_left"`)
	server.stop()

	log := logged(t, server)
	the(t, log, "started").with(t, line{"program": "tunnel-server", "version": nil, "listener": address, "tls": "1", "key_id": nil})
	the(t, log, "client_joined").with(t, line{"client": "pi", "address": nil, "key_id": nil, "key": "default"})
	the(t, log, "service_up").with(t, line{"client": "pi", "service": "web", "network": "tcp", "public": public})
	the(t, log, "service_denied").with(t, line{"client": "pi", "service": "not", "port": 1.0, "code": "port not allowed", "reason": nil})
	the(t, log, "user_lost").with(t, line{"client": "pi", "service": "web", "user": nil, "error": nil})
	the(t, log, "client_stopping").with(t, line{"client": "pi", "reason": "the client is stopping"})
	the(t, log, "client_left").with(t, line{"client": "pi", "address": nil, "reason": nil})

	log = logged(t, client)
	the(t, log, "started").with(t, line{"program": "tunnel-client", "version": nil, "server": address, "tls": "1", "key_id": nil})
	up := the(t, log, "service_up")
	up.with(t, line{"service": "web", "network": "tcp", "public": public, "target": "127.0.0.1:1", "warm": nil, "round_trip_seconds": nil})
	require.Greater(t, up["round_trip_seconds"], 0.0)
	require.Less(t, up["round_trip_seconds"], 5.0)
	require.GreaterOrEqual(t, up["warm"], 1.0)
	the(t, log, "service_denied").with(t, line{"service": "not", "port": 1.0, "code": "port not allowed", "reason": nil})
	the(t, log, "target_failed").with(t, line{"service": "web", "target": "127.0.0.1:1", "code": "target refused the connection", "error": nil, "muted": 0.0})
}
