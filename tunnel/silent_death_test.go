package tunnel

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/faults"
)

// farAway is a simulated one-way delay between both ends of a tunnel.
const farAway = 20 * time.Millisecond

// old is how long connections idle before they die: then the death of one says
// something of the others, as it does behind a NAT that forgets.
const old = 1100 * time.Millisecond

// counting is a target that remembers every request it was sent.
type counting struct {
	mu   sync.Mutex
	seen map[string]int
}

func (c *counting) serve(conn *net.TCPConn) {
	request, err := io.ReadAll(conn)
	if err != nil {
		return
	}
	c.mu.Lock()
	c.seen[string(request)]++
	c.mu.Unlock()
	conn.Write(append([]byte("got "), request...))
}

// overLink starts a server and a client with a pool of exactly size over a
// link, and waits until the pool is warm.
func overLink(t *testing.T, mode pool.TLSMode, target string, size int) (*host, *guest, *faults.Link) {
	h := startServer(t, mode)
	link, err := faults.NewLink(h.addr(), farAway)
	require.NoError(t, err)
	t.Cleanup(link.Close)
	cfg := h.clientConfig(target)
	cfg.PoolMin, cfg.PoolMax = size, size
	cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return link.Dial(ctx) }
	g := runClient(t, cfg).up(t)
	eventually(t, func() bool {
		s, c := h.Stats(), g.Stats()
		return len(s.Pools) == 1 && s.Pools[0].Idle == size && c.Pool.Idle == size && c.RoundTrip > 0
	}, func() string { return fmt.Sprintf("the pool is not warm: %+v", g.Stats().Pool) })
	warm := time.Now()
	eventually(t, func() bool { return time.Since(warm) > old }, func() string { return "the clock stands" })
	return h, g, link
}

// within is how long a user of a pool that died silently may wait for the first
// byte, 40 ms of round trip away. A machine that is busy with other things can
// be late once; what is wrong with the tunnel is late in every round.
const (
	within = 400 * time.Millisecond
	rounds = 10
)

// TestSilentlyDeadConnections: all idle connections lose everything, and
// neither end is told; the control connection lives. Each of the next users is
// served soon, by a connection dialed after the client was asked, and no byte
// is lost or reaches the target twice.
func TestSilentlyDeadConnections(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		for round := 1; ; round++ {
			slowest := usersOfADeadPool(t, mode)
			if slowest <= within {
				return
			}
			t.Logf("round %d: a user waited %v, more than %v", round, slowest, within)
			require.Less(t, round, rounds, "no round was within %v", within)
		}
	})
}

// usersOfADeadPool kills a pool and serves users one after the other. It
// returns how long the slowest of the first, as many as there were connections,
// waited for the first byte.
func usersOfADeadPool(t *testing.T, mode pool.TLSMode) (slowest time.Duration) {
	const size = 8
	target := &counting{seen: make(map[string]int)}
	h, g, link := overLink(t, mode, startTarget(t, target.serve), size)
	link.Mute(1, link.Carried()) // 0 is control
	for i := range 2 * size {
		begun := time.Now()
		user := g.dial(t)
		request := fmt.Sprintf("request %d", i)
		send(t, user, request)
		require.NoError(t, user.CloseWrite())
		first := make([]byte, 1)
		_, err := io.ReadFull(user, first)
		require.NoError(t, err, "user %d", i)
		took := time.Since(begun)
		rest, err := io.ReadAll(user)
		require.NoError(t, err)
		require.Equal(t, "got "+request, string(first)+string(rest))
		t.Logf("user %d: first byte after %v", i, took.Round(time.Millisecond))
		if i < size {
			slowest = max(slowest, took)
		}
	}
	target.mu.Lock()
	defer target.mu.Unlock()
	require.Len(t, target.seen, 2*size)
	for request, times := range target.seen {
		require.Equal(t, 1, times, "%q reached the target %d times", request, times)
	}
	s := h.Stats()
	require.Positive(t, s.Replays)
	require.Zero(t, s.NoAck)
	t.Logf("asked %d times, offered again %d times; closed by the server: %v", s.Asked, s.Replays, s.Pools[0].Closed)
	return slowest
}

// TestSilentlyDeadConnectionsAllAtOnce: the same for users who come together.
func TestSilentlyDeadConnectionsAllAtOnce(t *testing.T) {
	const size = 8
	target := &counting{seen: make(map[string]int)}
	h, g, link := overLink(t, pool.TLSSelfSigned, startTarget(t, target.serve), size)
	link.Mute(1, link.Carried())
	var users sync.WaitGroup
	for i := range size {
		users.Go(func() {
			begun := time.Now()
			user, err := net.Dial("tcp", g.public(0))
			if err != nil {
				t.Error(err)
				return
			}
			defer user.Close()
			user.SetDeadline(time.Now().Add(patience))
			request := fmt.Sprintf("request %d", i)
			io.WriteString(user, request)
			user.(*net.TCPConn).CloseWrite()
			answer, err := io.ReadAll(user)
			if err != nil || string(answer) != "got "+request {
				t.Errorf("user %d was told %q, %v", i, answer, err)
			}
			t.Logf("user %d: answered after %v", i, time.Since(begun).Round(time.Millisecond))
		})
	}
	users.Wait()
	for request, times := range target.seen {
		require.Equal(t, 1, times, "%q reached the target %d times", request, times)
	}
	require.Len(t, target.seen, size)
	require.Zero(t, h.Stats().NoAck)
}
