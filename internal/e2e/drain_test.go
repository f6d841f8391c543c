package e2e

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// halfway sets up a tunnel with one user who has half of an answer.
type halfway struct {
	server, client *process
	target         halves
	user           net.Conn
}

func newHalfway(t *testing.T) (h halfway) {
	h.target = newHalves(t)
	server, address, key := startServer(t)
	h.server = server
	h.client = startClient(t, key, address, "-R", "0:"+h.target.address)
	h.user = user(t, h.client.line(`is up: (\S+) leads to`)[1])
	return h
}

// both runs a test with each end as the one that is stopped.
func both(t *testing.T, test func(t *testing.T, h halfway, stopped *process)) {
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		h := newHalfway(t)
		test(t, h, h.server)
	})
	t.Run("client", func(t *testing.T) {
		t.Parallel()
		h := newHalfway(t)
		test(t, h, h.client)
	})
}

func TestSignalDrains(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			both(t, func(t *testing.T, h halfway, stopped *process) {
				stopped.signal(sig)
				stopped.line(`Stopping: 1 streams? ha(s|ve) 30s to finish`)
				h.target.finish()
				rest, err := io.ReadAll(h.user)
				require.NoError(t, err)
				require.Equal(t, secondHalf, string(rest))
				h.user.Close() // its own half; the stream is over now
				require.Zero(t, stopped.status())
			})
		})
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, h halfway, stopped *process) {
		stopped.signal(syscall.SIGTERM)
		stopped.line(`Stopping: `)
		require.Eventually(t, func() bool {
			stopped.cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-stopped.ended:
				return true
			default:
				return false
			}
		}, patience, 10*time.Millisecond)
		require.Equal(t, -1, stopped.status(), "ended by the signal")
		require.Equal(t, syscall.SIGTERM, stopped.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal())
		if stopped == h.client { // of a killed server the system ends the connections
			_, err := io.ReadAll(h.user)
			require.Error(t, err, "a cut stream is a reset, not an end")
		}
	})
}

func TestDrainLimit(t *testing.T) {
	t.Parallel()
	target := newHalves(t)
	server, address, key := startServer(t, "--drain", "50ms")
	client := startClient(t, key, address, "-R", "0:"+target.address)
	u := user(t, client.line(`is up: (\S+) leads to`)[1])
	server.signal(syscall.SIGTERM)
	server.line(`Stopping: 1 streams? did not finish`)
	require.Zero(t, server.status())
	_, err := io.ReadAll(u)
	require.Error(t, err)
	client.line(`The server says goodbye: the server is stopping`)
	client.line(`refused the connection: is tunnel-server running there`)
	client.stop()
}
