package tunnel

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// TestTargetsManners: targets that refuse, close or reset at once, or speak
// first. Each user is told at once what became of it, and every one of them is
// served on connections that are there already.
func TestTargetsManners(t *testing.T) {
	const oneWay, users = 25 * time.Millisecond, 10
	for _, tt := range []struct {
		name   string
		target func(*net.TCPConn) // nil: nobody listens
		says   string
		end    error
	}{
		{"down", nil, "", syscall.ECONNRESET},
		{"closes at once", func(*net.TCPConn) {}, "", io.EOF},
		{"resets at once", func(c *net.TCPConn) { reset(c) }, "", syscall.ECONNRESET},
		{"speaks first", func(c *net.TCPConn) { io.WriteString(c, "220 ready\r\n") }, "220 ready\r\n", io.EOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
				t.Parallel()
				address := net.JoinHostPort("127.0.0.1", "1") // nobody's
				var dialed atomic.Int64
				if tt.target != nil {
					address = startTarget(t, func(c *net.TCPConn) { dialed.Add(1); tt.target(c) })
				}
				h, g, link := startOver(t, mode, address, oneWay, DefaultHeartbeat, ofSize(4))
				connections := link.Carried()
				var took []time.Duration
				for range users {
					begun := time.Now()
					c, err := net.Dial("tcp", g.public(0))
					require.NoError(t, err)
					c.SetDeadline(time.Now().Add(patience))
					said, err := io.ReadAll(c)
					took = append(took, time.Since(begun))
					if tt.end == io.EOF {
						require.NoError(t, err)
					} else {
						require.ErrorIs(t, err, tt.end)
					}
					require.Equal(t, tt.says, string(said))
					require.NoError(t, c.Close())
					quiet(t, h, g)
				}
				slices.Sort(took)
				t.Logf("users were told after %v (least), %v (most); simulated round trip %v",
					took[0].Round(time.Millisecond), took[users-1].Round(time.Millisecond), 2*oneWay)
				// The most depends on how busy the machine is; the least shows
				// how many round trips it takes.
				require.Less(t, took[0], 4*oneWay-oneWay/2, "it takes more than a round trip")
				require.Equal(t, connections, link.Carried(), "a connection was dialed")
				client, server := g.Stats(), h.Stats()
				require.Empty(t, client.Pool.Closed)
				require.Empty(t, server.Pools[0].Closed)
				require.EqualValues(t, 4, server.Pools[0].Created)
				require.EqualValues(t, users, server.Streams, "a user was offered again")
				if tt.target == nil {
					require.EqualValues(t, users, client.Refused)
				} else {
					require.EqualValues(t, users, dialed.Load(), "a target is dialed once for each user")
				}
			})
		})
	}
}

// ofSize gives a client a pool of that many connections, which takes its time
// to replace those that are out: what is dialed shows what was lost.
func ofSize(size int) func(*ClientConfig) {
	return func(cfg *ClientConfig) {
		cfg.PoolMin, cfg.PoolMax = size, size
		cfg.PoolMinInterval, cfg.PoolMaxInterval = time.Minute, time.Minute
	}
}

// TestLateAccept: a target that lets its users wait for 3 s before it takes
// them from its queue is dialed once, and gets what was said meanwhile.
func TestLateAccept(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { l.Close() })
		servedLate(t, mode, l, l.Addr().String(), func() {})
	})
}

// slowness is how long a slow target keeps its users waiting.
const slowness = 3 * time.Second

// servedLate has a user come to a target that accepts nobody for a while, and
// holds that it is served in the end, by the one connection that was made for
// it. l belongs to servedLate; giveWay is called when the target begins to
// accept.
func servedLate(t *testing.T, mode pool.TLSMode, l net.Listener, address string, giveWay func()) {
	h := startServer(t, mode)
	g := startClient(t, h, address, ofSize(2))
	begun := time.Now()
	user := g.dial(t)
	send(t, user, "patience")
	require.NoError(t, user.CloseWrite())
	time.Sleep(slowness) // it is what the test is about
	giveWay()
	var asked []string
	accepted := make(chan error, 1)
	go func() { // ends when l closes, or everyone is served
		for {
			c, err := l.Accept()
			if err != nil {
				accepted <- err
				return
			}
			c.SetDeadline(time.Now().Add(patience))
			if request, _ := io.ReadAll(c); len(request) > 0 {
				asked = append(asked, string(request))
				io.WriteString(c, "rewarded")
			}
			c.Close()
		}
	}()
	answer, err := io.ReadAll(user)
	require.NoError(t, err)
	require.Equal(t, "rewarded", string(answer))
	t.Logf("answered after %v", time.Since(begun).Round(time.Millisecond))
	user.Close()
	quiet(t, h, g)
	l.Close()
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		require.NoError(t, err)
	}
	require.Equal(t, []string{"patience"}, asked, "one connection for the user, and no other")
	require.Zero(t, h.Stats().Asked+h.Stats().Replays, "a slow target passed for a slow client")
	require.Empty(t, h.Stats().Pools[0].Closed, "the user cost a connection")
	require.Empty(t, g.Stats().Pool.Closed, "the user cost a connection")
	require.EqualValues(t, 1, g.Stats().Streams)
	require.EqualValues(t, h.Stats().Pools[0].Created, h.Stats().Pools[0].Idle, "all are ready for the next users")
}
