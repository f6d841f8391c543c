package tunnel

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// TestHalfClosedPausedReader: a user who has ended its side pauses in the
// answer, whose end then waits in the pooled connection although the client is
// through with the stream.
func TestHalfClosedPausedReader(t *testing.T) {
	const keepAlive, pause = 250 * time.Millisecond, 2 * time.Second
	for _, mode := range []pool.TLSMode{pool.TLSPlain, pool.TLSSelfSigned} {
		for _, size := range []int{3, 5, 7, 9, 11} {
			t.Run(fmt.Sprintf("mode %v, %d MiB", mode, size), func(t *testing.T) {
				t.Parallel()
				data := bytes.Repeat([]byte{7}, size<<20)
				h := startServer(t, mode, func(cfg *ServerConfig) { cfg.KeepAlive = keepAlive })
				g := startClient(t, h, startTarget(t, func(c *net.TCPConn) {
					io.Copy(io.Discard, c)
					c.Write(data)
				}), func(cfg *ClientConfig) { cfg.KeepAlive, cfg.PoolMin, cfg.PoolMax = keepAlive, 1, 2 })
				c := g.dial(t)
				require.NoError(t, c.SetReadBuffer(64<<10))
				send(t, c, "q")
				require.NoError(t, c.CloseWrite())
				time.Sleep(pause) // it is what is tested: longer than four user timeouts
				n, err := io.Copy(io.Discard, c)
				require.NoError(t, err)
				require.EqualValues(t, len(data), n)
			})
		}
	}
}
