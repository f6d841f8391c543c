package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rivalry is how long two clients that want the same are watched.
const rivalry = 3 * time.Second

// TestTwoMachinesOneName: two machines with one name want one port. The first
// keeps it undisturbed, the second is told who has it, and gets it by itself
// when the first is gone.
func TestTwoMachinesOneName(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]os.Signal{"stopped": syscall.SIGTERM, "killed": os.Kill} {
		t.Run("until the first is "+name, func(t *testing.T) {
			t.Parallel()
			server, address, key := startServer(t)
			mine, theirs := openDesk(t, listenHere(t)), openDesk(t, listenHere(t))
			port := freePort(t)
			public := "127.0.0.1:" + port
			first := startClient(t, key, address, "--name", "gate", "-R", port+":"+mine.address)
			first.line(`is up: `)
			users := gather(20*time.Millisecond, func() visit { return dialer(fromHere).call(public) })
			second := startClient(t, key, address, "--name", "gate", "-R", port+":"+theirs.address)
			second.line(`WARN +Service "` + port + `" is not up: port ` + port + ` is held by client "gate"`)
			time.Sleep(rivalry)
			mine.requireAllServed(t, users.disperse())
			require.Equal(t, 2, server.count(" joined "), "sessions")
			require.Zero(t, server.count(" left: "))
			require.Equal(t, 1, first.count("is up: "))
			require.Zero(t, first.count("WARN"))
			require.Equal(t, 1, second.count("WARN"))
			t.Logf("within %v: 2 sessions, 1 line for the second client", rivalry)

			left := time.Now()
			first.signal(gone)
			first.status()
			second.line(`Service "` + port + `" is up: `)
			t.Logf("the second has the port %v after the first was %s", round(time.Since(left)), name)
			v := dialer(fromHere).call(public)
			require.NoError(t, v.err)
			theirs.requireAllServed(t, []visit{v})
		})
	}
}

// TestCopiedStateDirectory: a client with another's identity is told what is
// wrong, and the one whose identity it is notices nothing.
func TestCopiedStateDirectory(t *testing.T) {
	t.Parallel()
	server, address, key := startServer(t)
	d := openDesk(t, listenHere(t))
	original, copied := newHost(t, key), newHost(t, key)
	args := []string{"--server", address, "-R", freePort(t) + ":" + d.address}
	first := original.start("tunnel-client", args...)
	public := first.line(`is up: (\S+) leads to`)[1]
	cp, err := exec.LookPath("cp") // with the control socket, as people do it
	if err != nil {
		t.Skip("there is no cp here")
	}
	out, err := exec.CommandContext(t.Context(), cp, "-R", original.state, copied.state).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.FileExists(t, filepath.Join(copied.state, "identity"))

	users := gather(20*time.Millisecond, func() visit { return dialer(fromHere).call(public) })
	second := copied.start("tunnel-client", args...)
	second.line(`WARN .*copied state directory`)
	time.Sleep(rivalry)
	d.requireAllServed(t, users.disperse())
	require.Equal(t, 1, server.count(" joined "), "sessions")
	require.Zero(t, server.count(" left: "))
	require.Equal(t, 1, first.count("is up: "))
	require.Zero(t, first.count("WARN"))
	require.Equal(t, 1, second.count("WARN"))
	t.Logf("within %v: 1 session, %d lines in the server's log", rivalry, server.count("\n")+1)
}
