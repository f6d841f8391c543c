package tunnel

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/faults"
)

// all is the range of a fault that befalls every connection of a link.
const all = math.MaxInt

// startOver runs a server and a client over a link with the given delay, and
// waits until the pool is warm at both ends and the round trip is known. The
// link's connection 0 is the control connection.
func startOver(t *testing.T, mode pool.TLSMode, target string, oneWay, heartbeat time.Duration, change ...func(*ClientConfig)) (*host, *guest, *faults.Link) {
	t.Helper()
	h := startServer(t, mode, func(cfg *ServerConfig) { cfg.Heartbeat = heartbeat })
	link, err := faults.NewLink(h.addr(), oneWay)
	require.NoError(t, err)
	t.Cleanup(link.Close)
	over := func(cfg *ClientConfig) {
		cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return link.Dial(ctx) }
	}
	g := startClient(t, h, target, append(change, over)...)
	eventually(t, func() bool {
		s := h.Stats()
		return len(s.Pools) == 1 && s.Pools[0].Idle >= g.cfg.Load().PoolMin && g.Stats().RoundTrip > 0
	}, func() string { return fmt.Sprintf("the pool is not warm: %+v", h.Stats().Pools) })
	return h, g, link
}

// quiet waits until no stream is open and no connection out, at either end.
func quiet(t *testing.T, h *host, g *guest) {
	t.Helper()
	eventually(t, func() bool {
		s, c := h.Stats(), g.Stats()
		return s.Open == 0 && c.Open == 0 && c.Pool.Out == 0 && s.Pools[0].Out == 0 && s.Pools[0].Waiting == 0
	}, func() string { return fmt.Sprintf("streams do not end: %+v\n%+v", h.Stats(), g.Stats()) })
}

// once fails the test unless every one of count requests reached the target,
// and reached it once.
func (c *counting) once(t *testing.T, count int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for request, times := range c.seen {
		require.Equal(t, 1, times, "%q reached the target %d times", request, times)
	}
	require.Len(t, c.seen, count)
}

// TestControlStalls: the control connection stands still for 200 to 400 ms,
// again and again, as after a lost segment, while some 500 users come per
// second. Nobody is reset, no request reaches the target twice, and neither end
// takes the other for dead.
func TestControlStalls(t *testing.T) {
	const perSecond, lasting = 500, 2 * time.Second
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		target := &counting{seen: make(map[string]int)}
		h, g, link := startOver(t, mode, startTarget(t, target.serve), 5*time.Millisecond, 500*time.Millisecond)
		random := rand.New(rand.NewPCG(3, 14))
		over := make(chan struct{})
		var stalls atomic.Int64
		var tasks sync.WaitGroup
		tasks.Go(func() { // ends with over
			pause := time.NewTimer(0)
			defer pause.Stop()
			for stalled := false; ; stalled = !stalled {
				select {
				case <-over:
					link.Stall(0, 0)
					return
				case <-pause.C:
				}
				if stalled {
					link.Stall(0, 0)
					pause.Reset(time.Duration(100+random.IntN(200)) * time.Millisecond)
				} else {
					link.Stall(0, 1)
					stalls.Add(1)
					pause.Reset(time.Duration(200+random.IntN(200)) * time.Millisecond)
				}
			}
		})
		public := g.public(0)
		var users sync.WaitGroup
		var slowest atomic.Int64
		come := time.NewTicker(time.Second / perSecond)
		defer come.Stop()
		count, begun := 0, time.Now()
		for ; time.Since(begun) < lasting; count++ {
			<-come.C
			request := fmt.Sprintf("request %d", count)
			users.Go(func() {
				came := time.Now()
				conn, err := net.Dial("tcp", public)
				if err != nil {
					t.Errorf("%s: %v", request, err)
					return
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(patience))
				if answer, err := ask(conn.(*net.TCPConn), request); err != nil || answer != "got "+request {
					t.Errorf("%s was told %q, %v", request, answer, err)
				}
				for took := int64(time.Since(came)); ; {
					if most := slowest.Load(); took <= most || slowest.CompareAndSwap(most, took) {
						break
					}
				}
			})
		}
		rate := float64(count) / time.Since(begun).Seconds()
		users.Wait()
		close(over)
		tasks.Wait()
		target.once(t, count)
		s := h.Stats()
		t.Logf("%d users, %.0f a second, %d stalls: the slowest was answered after %v; asked %d times, offered again %d times",
			count, rate, stalls.Load(), time.Duration(slowest.Load()).Round(time.Millisecond), s.Asked, s.Replays)
		require.Zero(t, s.NoAck)
		require.Zero(t, s.Timeouts)
		require.Equal(t, 1, h.log.count("joined"), "the stalls passed for a death")
		require.Zero(t, g.log.count("lost"))
		quiet(t, h, g)
	})
}
