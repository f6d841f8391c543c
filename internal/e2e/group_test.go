package e2e

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestGroup runs two clients with the command of GROUPS.md, under a user every
// 10 ms and with some that stay. One is killed and comes back: only those notice
// whom it was serving, and then it has its part again.
func TestGroup(t *testing.T) {
	t.Parallel()
	_, address, key := startServer(t)
	port := freePort(t)
	public := "127.0.0.1:" + port
	type machine struct {
		host
		desk   *desk
		args   []string
		client *process
	}
	var machines [2]machine
	for i := range machines {
		m := &machines[i]
		m.host, m.desk = newHost(t, key), openDesk(t, listenHere(t))
		m.args = documented(t, "GROUPS.md", "tunnel-client", "HOST", address, "8080", port, ":3000", ":"+m.desk.address)
		m.client = m.start("tunnel-client", m.args...)
		m.client.line(`Service "web" is up: ` + public)
	}
	served := func(visits []visit) (counts [2]int) {
		for _, v := range visits {
			for i := range machines {
				d := machines[i].desk
				d.mu.Lock()
				counts[i] += d.seen[v.hash]
				d.mu.Unlock()
			}
		}
		return counts
	}
	call := func() visit { return dialer(fromHere).call(public) }
	first := gather(10*time.Millisecond, call)
	time.Sleep(rivalry)
	first.reach(t, 100)
	quiet := first.disperse()
	for _, v := range quiet {
		require.NoError(t, v.err)
	}
	t.Logf("both there: %d users, %v on each; %s", len(quiet), served(quiet), figures(quiet))
	require.Greater(t, min(served(quiet)[0], served(quiet)[1]), len(quiet)/10, "each has its part, on a machine however busy")

	// long are users that stay, half of them on each.
	long := make([]net.Conn, 20)
	for i := range long {
		c, err := net.Dial("tcp", public)
		require.NoError(t, err)
		defer c.Close()
		_, err = fmt.Fprintf(c, "user %d stays", i)
		require.NoError(t, err)
		long[i] = c
		time.Sleep(rivalry / 50) // so that no moment decides for all
	}
	during := gather(10*time.Millisecond, call)
	during.await(t, "served", func(v visit) bool { return v.err == nil })
	time.Sleep(rivalry / 3)
	killed := time.Now()
	machines[0].client.kill()
	time.Sleep(rivalry)
	missing := during.disperse()
	lost := 0
	for _, v := range missing {
		if v.err != nil {
			lost++
			require.WithinDuration(t, killed, v.begun, time.Second, "only those who were on it notice: %v", v.err)
		}
	}
	reset := 0
	for _, c := range long {
		c.(*net.TCPConn).CloseWrite() // fails where it was reset
		c.SetDeadline(time.Now().Add(patience))
		if answer, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(answer), "stays") {
			reset++
		}
	}
	t.Logf("one killed: %d of %d users lost, %v on each; of %d users that stayed %d were reset; %s",
		lost, len(missing), served(missing), len(long), reset, figures(missing))
	require.Less(t, reset, len(long), "those on the client that was killed")

	begun := time.Now()
	again := machines[0].start("tunnel-client", machines[0].args...)
	again.line(`Service "web" is up: ` + public)
	back := time.Since(begun)
	last := gather(10*time.Millisecond, call)
	time.Sleep(rivalry)
	last.reach(t, 100)
	after := last.disperse()
	for _, v := range after {
		require.NoError(t, v.err)
	}
	counts := served(after)
	t.Logf("it is up again after %v: %d users, %v on each; %s", round(back), len(after), counts, figures(after))
	require.Greater(t, min(counts[0], counts[1]), len(after)/10, "each has its part, on a machine however busy")
	for i := range machines {
		machines[i].desk.requireOnce(t)
	}

	// Stopping costs nobody anything.
	leaving := gather(10*time.Millisecond, call)
	leaving.await(t, "served", func(v visit) bool { return v.err == nil })
	machines[1].client.stop()
	rest := leaving.disperse()
	for _, v := range rest {
		require.NoError(t, v.err)
	}
	t.Logf("one stopped: %d users, %v on each", len(rest), served(rest))
}
