package tunnel

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// gate holds up what passes through it while it is shut.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // closed while the gate is open
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	close(g.open)
	return g
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

func (g *gate) reopen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
}

func (g *gate) pass() {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	<-open
}

// gatedConn is a connection whose writes wait at a gate, as bytes do whose
// segment was lost.
type gatedConn struct {
	net.Conn
	gate *gate
}

func (c *gatedConn) Write(b []byte) (int, error) {
	c.gate.pass()
	return c.Conn.Write(b)
}

// TestLateACKs: clients commit, and every ACK is held up on its way for longer
// than it takes to be late, while the control connection answers. The users are
// served all the same, each by one connection to the target.
func TestLateACKs(t *testing.T) {
	const size = 8
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		target := &counting{seen: make(map[string]int)}
		h := startServer(t, mode)
		pooled := newGate()
		var dialed atomic.Int64
		g := startClient(t, h, startTarget(t, target.serve), func(cfg *ClientConfig) {
			cfg.PoolMin, cfg.PoolMax = size, size
			cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				if err != nil || dialed.Add(1) == 1 { // the first is control
					return conn, err
				}
				return &gatedConn{conn, pooled}, nil
			}
		})
		eventually(t, func() bool { return h.Stats().Pools[0].Idle == size }, h.log.text)
		pooled.shut()
		answers := make(chan string, size)
		for i := range size {
			user, request := g.dial(t), fmt.Sprintf("request %d", i)
			go func() { // ends with the user's deadline at latest
				answer, err := ask(user, request)
				answers <- fmt.Sprint(answer, err)
			}()
		}
		eventually(t, func() bool { return h.Stats().Asked == size }, h.log.text)
		time.Sleep(5 * minAckWait) // the delay is the fault
		pooled.reopen()
		var got []string
		for range size {
			got = append(got, <-answers)
		}
		for i := range size {
			require.Contains(t, got, fmt.Sprintf("got request %d<nil>", i))
		}
		target.once(t, size)
		s := h.Stats()
		require.Zero(t, s.NoAck)
		require.Zero(t, s.Replays)
		require.Zero(t, s.Pools[0].Closed[pool.ClosedDistrusted], "nothing died")
		quiet(t, h, g)
	})
}
