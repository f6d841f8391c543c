package e2e

import (
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestCrashIsAReset: what a killed program cut off does not look whole, not to
// the user and not to the target.
func TestCrashIsAReset(t *testing.T) {
	for _, killed := range []string{"server", "client"} {
		t.Run(killed, func(t *testing.T) {
			t.Parallel()
			target := listenHere(t)
			seen := make(chan error, 1)
			serve(t, target, func(c net.Conn) {
				c.SetDeadline(time.Now().Add(patience))
				io.WriteString(c, firstHalf)
				_, err := io.ReadAll(c)
				seen <- err
			})
			server, address, key := startServer(t)
			client := startClient(t, key, address, "-R", "0:"+target.Addr().String())
			u := user(t, client.line(`is up: (\S+) leads to`)[1])
			_, err := io.WriteString(u, "half of a quest")
			require.NoError(t, err)
			victim := server
			if killed == "client" {
				victim = client
			}
			victim.kill()
			_, err = io.ReadAll(u)
			require.ErrorIs(t, err, syscall.ECONNRESET, "seen by the user")
			require.ErrorIs(t, <-seen, syscall.ECONNRESET, "seen by the target")
		})
	}
}
