//go:build unix

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFrozenPeer stops one of the two programs for a time, as a swapping
// machine or a suspended one does. Nobody who comes meanwhile loses anything,
// whether or not the other end has given its peer up, and nothing is left of it
// afterwards.
func TestFrozenPeer(t *testing.T) {
	for _, c := range []struct {
		name              string
		heartbeat, freeze time.Duration
		verdict           bool // the freeze lasts longer than three beats
	}{
		{"shorter than three beats", time.Second, 1200 * time.Millisecond, false},
		{"longer than three beats", 500 * time.Millisecond, 2500 * time.Millisecond, true},
	} {
		for _, whom := range []string{"client", "server"} {
			t.Run(whom+" frozen "+c.name, func(t *testing.T) {
				t.Parallel()
				freezeOne(t, whom, c.heartbeat, c.freeze, c.verdict)
			})
		}
	}
}

// TestFrozenPeerLong is the same with the programs' own heartbeat.
func TestFrozenPeerLong(t *testing.T) {
	for _, c := range []struct {
		freeze  time.Duration
		verdict bool
	}{{10 * time.Second, false}, {20 * time.Second, true}} {
		for _, whom := range []string{"client", "server"} {
			t.Run(whom+" frozen for "+c.freeze.String(), func(t *testing.T) {
				long(t)
				t.Parallel()
				freezeOne(t, whom, 5*time.Second, c.freeze, c.verdict)
			})
		}
	}
}

func freezeOne(t *testing.T, whom string, heartbeat, freeze time.Duration, verdict bool) {
	wait := freeze + 10*time.Second // for users; above the freeze, so that all can be served
	server, address, key := startServer(t, "--heartbeat", heartbeat.String(), "--wait", wait.String())
	d := openDesk(t, listenHere(t))
	port := steadyPort(t)
	client := startClient(t, key, address, "--pool-min", "8", "--pool-max", "8", "-R", port+":"+d.address)
	client.line(`is up: \S+ leads to .* \(8 connections warm`)
	call := func() visit { return dialer(fromHere).call("127.0.0.1:" + port) }
	frozen, lost := client, func() int { return server.count(" left: ") }
	if whom == "server" {
		frozen, lost = server, func() int { return client.count("Connection to ") }
	}
	require.NoError(t, call().err)
	before := [2]resources{resourcesOf(t, server), resourcesOf(t, client)}

	frozen.signal(syscall.SIGSTOP)
	users := gather(50*time.Millisecond, call)
	time.Sleep(freeze)
	thawed := time.Now()
	frozen.signal(syscall.SIGCONT)
	first := users.await(t, "served after the freeze", func(v visit) bool { return served(v) && v.begun.After(thawed) })
	all := users.disperse()
	d.requireAllServed(t, all)
	t.Logf("frozen for %v with a heartbeat of %v; a user who came after it had the first byte %v later; %s",
		freeze, heartbeat, round(first.first.Sub(thawed)), figures(all))
	if verdict {
		require.Equal(t, 1, lost(), "one verdict")
	} else {
		require.Zero(t, lost(), "no verdict")
	}
	for i, p := range []*process{server, client} {
		var now resources
		require.Eventually(t, func() bool {
			now = resourcesOf(t, p)
			return now.descriptors <= before[i].descriptors
		}, patience, 20*time.Millisecond, "descriptors of %s: %+v before, %+v after", filepath.Base(p.cmd.Path), before[i], &now)
		require.LessOrEqual(t, now.threads, before[i].threads+16)
		t.Logf("%s: %+v before, %+v after", filepath.Base(p.cmd.Path), before[i], now)
	}
}

// resources are what a process holds. Where the system does not tell they are 0.
type resources struct{ descriptors, threads int }

func resourcesOf(t *testing.T, p *process) (r resources) {
	t.Helper()
	at := filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid))
	open, err := os.ReadDir(filepath.Join(at, "fd"))
	if err != nil {
		return r
	}
	status, err := os.ReadFile(filepath.Join(at, "status"))
	require.NoError(t, err)
	threads := regexp.MustCompile(`(?m)^Threads:\s+(\d+)$`).FindSubmatch(status)
	require.NotNil(t, threads)
	r.descriptors = len(open)
	r.threads, err = strconv.Atoi(string(threads[1]))
	require.NoError(t, err)
	return r
}
