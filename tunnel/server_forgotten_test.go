package tunnel

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// TestBackBeforeTheEndOfLinger: a client of a group is lost and comes back. That
// its linger time is over then means nothing any more: the server knows it and its
// port as before.
func TestBackBeforeTheEndOfLinger(t *testing.T) {
	const linger = 500 * time.Millisecond
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Linger = linger })
	port := freePort(t)
	var line cable
	back := startClient(t, h, telling(t, "a"), sharing("a", port), func(cfg *ClientConfig) { cfg.Dial = line.dial })
	startClient(t, h, telling(t, "b"), sharing("b", port))

	line.cut()
	eventually(t, func() bool { return h.Stats().Sessions == 1 }, h.log.text)
	lost := time.Now()
	line.mend()
	back.up(t)
	eventually(t, func() bool { return len(h.Stats().Services) == 2 || time.Since(lost) > linger }, h.log.text)
	require.Less(t, time.Since(lost), linger, "it came back too late for this test")
	eventually(t, func() bool { return time.Since(lost) > 3*linger/2 }, h.log.text)
	require.Len(t, h.Stats().Services, 2)
}
