package congestion

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tunnelpool/pool/internal/testnet"
)

// control names the connection's congestion control after it was set to name.
func control(t *testing.T, conn net.Conn, set string) (is string) {
	t.Helper()
	require.NoError(t, socketOf(conn).Control(func(fd uintptr) {
		if set != "" {
			if err := unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, set); err != nil {
				t.Skipf("%s cannot be chosen here: %v", set, err)
			}
		}
		is, _ = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	}))
	return is
}

func dial(t *testing.T) net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestSteady: BBR makes way, also below TLS, and what somebody else chose stays.
func TestSteady(t *testing.T) {
	conn := dial(t)
	require.Equal(t, "reno", control(t, conn, "reno"))
	Steady(conn)
	require.Equal(t, "reno", control(t, conn, ""))
	require.Equal(t, "bbr", control(t, conn, "bbr"))
	Steady(tls.Client(conn, &tls.Config{}))
	require.Contains(t, []string{"cubic", "reno"}, control(t, conn, ""))
}

// TestWindow: on a long path small writes are held back once half the window is
// used, large ones never, and on a short path none.
func TestWindow(t *testing.T) {
	near := Watch(dial(t))
	require.Zero(t, near.Pause(1))

	if err := testnet.Available(); err != nil {
		t.Skip("a path with a delay needs root on Linux: ", err)
	}
	link, err := testnet.New(20 * time.Millisecond)
	require.NoError(t, err)
	t.Cleanup(link.Close)
	l, err := link.B.Listen(link.B.Addr() + ":0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	conn, err := link.A.Dial(t.Context(), l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	far := Watch(conn)
	require.Zero(t, far.Pause(1))
	var pause time.Duration
	for range 1000 { // each a packet, until one has to wait
		_, err := conn.Write([]byte{1})
		require.NoError(t, err)
		if pause = far.Pause(1); pause > 0 {
			break
		}
	}
	require.Positive(t, pause)
	require.LessOrEqual(t, pause, mostPause)
	require.Zero(t, far.Pause(packet))
	require.Eventually(t, func() bool { return far.Pause(1) == 0 }, 10*time.Second, time.Millisecond)
}
