//go:build unix

package e2e

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// socket is a listening socket that outlives the programs it is handed to.
func socket(t *testing.T) (f *os.File, address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	f, err = l.(*net.TCPListener).File()
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f, l.Addr().String()
}

// TestUpgrade: a server whose sockets are handed over is replaced by another.
// Who connects in between waits, and is served by the new one.
func TestUpgrade(t *testing.T) {
	own, address := socket(t)
	web, public := socket(t)
	machine := newHost(t, pool.NewKey().Text())
	machine.sockets, machine.named = []*os.File{web, own}, "web:tunnel"
	args := []string{"--bind", "127.0.0.1"}
	server := machine.start("tunnel-server", args...)
	require.Equal(t, address, server.line(listening)[1])
	target := newHalves(t)
	client := startClient(t, machine.key, address, "-R", portOf(t, public)+":"+target.address)
	client.line(`is up: ` + public)
	old := user(t, public)

	server.signal(syscall.SIGTERM) // it drains: the user it has is served to the end
	server.line(`Stopping: 1 streams`)
	early, err := net.Dial("tcp", public)
	require.NoError(t, err, "refused in between")
	defer early.Close()
	early.SetDeadline(time.Now().Add(patience))
	again := machine.start("tunnel-server", args...)
	first := make([]byte, len(firstHalf))
	_, err = io.ReadFull(early, first)
	require.NoError(t, err)
	require.Equal(t, firstHalf, string(first))
	target.finish()
	rest, err := io.ReadAll(old)
	require.NoError(t, err)
	require.Equal(t, secondHalf, string(rest))
	old.Close()
	require.Zero(t, server.status())
	require.Equal(t, 1, again.count(`service "`+portOf(t, public)+`" is up`))
}

// TestKilledServerRefusesNobody: users come all the time while a server whose
// sockets are held by another process is killed, missing, and started again.
// All of them are served.
func TestKilledServerRefusesNobody(t *testing.T) {
	t.Parallel()
	own, address := socket(t)
	web, public := socket(t)
	machine := newHost(t, pool.NewKey().Text())
	machine.sockets, machine.named = []*os.File{own, web}, "tunnel:web"
	args := []string{"--bind", "127.0.0.1"}
	server := machine.start("tunnel-server", args...)
	client := startClient(t, machine.key, address, "-R", portOf(t, public)+":"+newHalves(t).address)
	client.line(`is up: ` + public)
	user(t, public).Close()
	server.kill()

	served := make(chan error, 10_000)
	come := func() {
		c, err := net.Dial("tcp", public)
		require.NoError(t, err, "refused")
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		go func() { // ends with the first half, or the deadline
			_, err := io.ReadFull(c, make([]byte, len(firstHalf)))
			served <- err
		}()
	}
	users := 0
	for ; users < 10; users++ {
		come()
	}
	require.Empty(t, served, "no server runs")
	again := machine.start("tunnel-server", args...)
	up := `service "` + portOf(t, public) + `" is up`
	for limit := time.Now().Add(patience); again.count(up) == 0 && time.Now().Before(limit); users++ {
		come()
		time.Sleep(10 * time.Millisecond) // between users
	}
	for range users {
		require.NoError(t, <-served)
	}
	require.Equal(t, 1, again.count(up))
	t.Logf("%d users came while the server was killed and started again", users)
}

// TestSocketsOfAnother: sockets of which none is the tunnel's are refused with
// the remedy.
func TestSocketsOfAnother(t *testing.T) {
	one, _ := socket(t)
	two, _ := socket(t)
	machine := newHost(t, pool.NewKey().Text())
	machine.sockets, machine.named = []*os.File{one, two}, "one:two"
	server := machine.start("tunnel-server")
	server.line(`FileDescriptorName=tunnel`)
	require.Equal(t, 1, server.status())
}
