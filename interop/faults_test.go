package interop

import (
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	tunnelpool "github.com/tunnelpool/pool"
)

// TestOurEndsClose: what one of our pools closes has ended at v1.0.50's, which
// hands it out all the same.
func TestOurEndsClose(t *testing.T) {
	for _, mode := range []string{"0", "1", "2"} {
		t.Run("our server closes, mode "+mode, func(t *testing.T) {
			p := ourServer.open(t, mode, 8)
			id, near, err := p.server.IncomingGet(enough)
			require.NoError(t, err)
			near.Close()
			p.server.Close()
			far, err := p.client.OutgoingGet(id, enough)
			require.NoError(t, err)
			requireEnded(t, far)
		})
		t.Run("our client closes, mode "+mode, func(t *testing.T) {
			p := theirServer.open(t, mode, 8)
			p.client.Close()
			_, near, err := p.server.IncomingGet(enough)
			require.NoError(t, err, "it does not look")
			requireEnded(t, near)
		})
	}
}

// TestTheirEndsFlush: what one of v1.0.50's pools closes leaves ours within two
// seconds, without having been handed out, and is replaced.
func TestTheirEndsFlush(t *testing.T) {
	const n = 8
	for _, mode := range []string{"0", "1", "2"} {
		t.Run("their server flushes, mode "+mode, func(t *testing.T) {
			p := theirServer.open(t, mode, n)
			p.server.Flush()
			requireDead(t, p.client, n)
			p.whole(t, n)
			near, far := p.take(t)
			requireEcho(t, near, far)
		})
		t.Run("their client flushes, mode "+mode, func(t *testing.T) {
			p := ourServer.open(t, mode, n)
			p.client.Flush()
			requireDead(t, p.server, n)
			p.whole(t, n)
			near, far := p.take(t)
			requireEcho(t, near, far)
		})
		t.Run("their client closes, mode "+mode, func(t *testing.T) {
			p := ourServer.open(t, mode, n)
			p.client.Close()
			_, _, err := p.server.IncomingGet(100 * time.Millisecond)
			require.ErrorIs(t, err, tunnelpool.ErrTimeout, "none of the dead is handed out")
		})
	}
}

// requireDead waits until our pool has found n connections dead.
func requireDead(t *testing.T, ours pool, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		return ours.(*tunnelpool.Pool).Stats().Closed[tunnelpool.ClosedDead] >= uint64(n)
	}, enough, time.Millisecond)
}

// TestEndsDiffer: with 8-byte IDs at our end nobody is paired with v1.0.50's, and
// our end says why where it can tell.
func TestEndsDiffer(t *testing.T) {
	t.Run("our server", func(t *testing.T) {
		e := ends{"", func(t *testing.T, _ string, n int, l net.Listener) pool {
			return tunnelpool.NewServerPool(n, "", nil, l, keepAlive)
		}, newTheirClient}
		p := e.open(t, "0", 4)
		id, near, err := p.server.IncomingGet(enough)
		require.NoError(t, err)
		defer near.Close()
		_, err = p.client.OutgoingGet(id, 200*time.Millisecond)
		require.ErrorContains(t, err, "not found")
	})
	t.Run("our client", func(t *testing.T) {
		failures := make(lines, 100)
		e := ends{"", newTheirServer, func(t *testing.T, mode string, n int, dial func() (net.Conn, error)) pool {
			return newClient(t, mode, n, dial, tunnelpool.ClientConfig{Logger: tunnelpool.SlogLogger(slog.New(slog.NewTextHandler(failures, nil)))})
		}}
		p := e.start(t, "0", 4)
		require.Contains(t, <-failures, "set ShortIDs here too")
		id, near, err := p.server.IncomingGet(enough)
		require.NoError(t, err)
		defer near.Close()
		_, err = p.client.OutgoingGet(id, 200*time.Millisecond)
		require.Error(t, err)
	})
}

// lines are what a log wrote.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	select {
	case l <- string(b):
	default: // nobody waits for so many
	}
	return len(b), nil
}
