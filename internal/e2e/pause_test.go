package e2e

import (
	"crypto/sha256"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPausedDownload: a user who stops reading for a while, and goes on, has
// lost nothing. Heartbeats and keep-alives are short, so that many of each
// pass meanwhile.
func TestPausedDownload(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"0", "1"} {
		t.Run("mode "+mode, func(t *testing.T) {
			t.Parallel()
			pauseDownload(t, 5*time.Second, mode, "--heartbeat", "200ms", "--keepalive", "500ms")
		})
	}
}

func TestPausedDownloadLong(t *testing.T) {
	long(t)
	t.Parallel()
	pauseDownload(t, 5*time.Minute, "1")
}

func pauseDownload(t *testing.T, pause time.Duration, mode string, clientArgs ...string) {
	server, address, key := startServer(t, "--tls", mode)
	target := listenHere(t)
	var written atomic.Bool
	serve(t, target, func(c net.Conn) {
		c.Write(large)
		written.Store(true)
	})
	client := startClient(t, key, address, append(clientArgs, "--tls", mode, "-R", "0:"+target.Addr().String())...)
	user, err := net.Dial("tcp", client.line(`is up: (\S+) leads to`)[1])
	require.NoError(t, err)
	defer user.Close()
	user.(*net.TCPConn).SetReadBuffer(64 << 10)
	user.SetDeadline(time.Now().Add(pause + patience))
	hash := sha256.New()
	first, err := io.CopyN(hash, user, int64(len(large))/32)
	require.NoError(t, err)
	time.Sleep(pause)
	require.False(t, written.Load(), "the pause reaches the target")
	rest, err := io.Copy(hash, user)
	require.NoError(t, err, "after %d bytes", first+rest)
	require.EqualValues(t, len(large), first+rest)
	want := sha256.Sum256(large)
	require.Equal(t, want[:], hash.Sum(nil))
	require.Zero(t, server.count(" left: ")+client.count("Connection to "))
	t.Logf("%d bytes, %v of pause, %d bytes", first, pause, rest)
}
