//go:build unix

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
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
	t.Parallel()
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
	t.Parallel()
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
	port := freePort(t)
	client := startClient(t, key, address, "--pool-min", "8", "--pool-max", "8", "-R", port+":"+d.address)
	client.line(`is up: \S+ leads to .* \(8 connections warm`)
	call := func() visit { return dialer(fromHere).call("127.0.0.1:" + port) }
	frozen, lost := client, func() int { return server.count(" left: ") }
	if whom == "server" {
		frozen, lost = server, func() int { return client.count("Connection to ") }
	}
	require.NoError(t, call().err)
	for _, p := range []*process{server, client} { // control, eight pooled, two carriers, one listener at least
		require.Eventually(t, func() bool { r := resourcesOf(t, p); return r.descriptors == nil || len(r.descriptors) >= 11 }, patience, 10*time.Millisecond)
	}
	loungesMade(t, "127.0.0.1:"+port, server, client)
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
		now := resourcesOf(t, p)
		for limit := time.Now().Add(patience); len(now.descriptors) > len(before[i].descriptors) && time.Now().Before(limit); {
			// Those dialed for the users who waited are given up when they come
			// back from one.
			require.NoError(t, call().err)
			time.Sleep(20 * time.Millisecond)
			now = resourcesOf(t, p)
		}
		name := filepath.Base(p.cmd.Path)
		require.LessOrEqual(t, len(now.descriptors), len(before[i].descriptors), "%s had open %v and has %v",
			name, before[i].descriptors, now.descriptors)
		require.LessOrEqual(t, now.threads, before[i].threads+16)
		t.Logf("%s: %v before, %v after", name, before[i], now)
	}
}

// loungesMade has a user stay silent until both programs have what they make for
// the first stream at rest, and keep: one epoll beside the runtime's and the
// pool's. Then everything else is as before.
func loungesMade(t *testing.T, public string, programs ...*process) {
	t.Helper()
	before := make([]int, len(programs))
	for i, p := range programs {
		before[i] = len(resourcesOf(t, p).descriptors)
	}
	user, err := net.Dial("tcp", public)
	require.NoError(t, err)
	defer user.Close()
	eventually := func(of func(i int, r resources) bool) {
		t.Helper()
		for i, p := range programs {
			require.Eventually(t, func() bool {
				r := resourcesOf(t, p)
				return r.descriptors == nil || of(i, r)
			}, patience, 10*time.Millisecond)
		}
	}
	eventually(func(_ int, r resources) bool {
		return strings.Count(strings.Join(r.descriptors, " "), "[eventpoll]") >= 3
	})
	user.Close()
	eventually(func(i int, r resources) bool { return len(r.descriptors) <= before[i]+1 })
}

// resources are what a process holds. Where the system does not tell it is
// nothing.
type resources struct {
	descriptors []string
	threads     int
}

func (r resources) String() string {
	return fmt.Sprintf("%d descriptors and %d threads", len(r.descriptors), r.threads)
}

func resourcesOf(t *testing.T, p *process) (r resources) {
	t.Helper()
	at := filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid))
	open, err := os.ReadDir(filepath.Join(at, "fd"))
	if err != nil {
		return r
	}
	for _, d := range open {
		if what, err := os.Readlink(filepath.Join(at, "fd", d.Name())); err == nil { // else it was closed just now
			r.descriptors = append(r.descriptors, what)
		}
	}
	status, err := os.ReadFile(filepath.Join(at, "status"))
	require.NoError(t, err)
	threads := regexp.MustCompile(`(?m)^Threads:\s+(\d+)$`).FindSubmatch(status)
	require.NotNil(t, threads)
	r.threads, err = strconv.Atoi(string(threads[1]))
	require.NoError(t, err)
	return r
}
