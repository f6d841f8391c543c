package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/faults"
	"github.com/tunnelpool/pool/internal/wakeup"
)

// machine stands for what this machine tells of itself.
type machine chan error

func (m machine) watch(ctx context.Context, _ net.Addr, _ time.Duration) error {
	select {
	case err := <-m:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m machine) await(ctx context.Context, _ time.Duration) error { return m.watch(ctx, nil, 0) }

// onMachine runs a client, on a machine that the test speaks for.
func onMachine(t *testing.T, cfg ClientConfig) (*guest, machine) {
	m := make(machine)
	return runClientWith(t, cfg, func(c *Client) { c.watch, c.await = m.watch, m.await }), m
}

// TestAddressGone: a client reconnects at once when the address is gone that
// its connections were made from, however long its heartbeat is.
func TestAddressGone(t *testing.T) {
	h := startServer(t, pool.TLSSelfSigned, func(cfg *ServerConfig) { cfg.Heartbeat = time.Minute })
	cfg := h.clientConfig(startTarget(t, echo))
	cfg.Heartbeat = time.Minute
	g, machine := onMachine(t, cfg)
	g.up(t)
	machine <- fmt.Errorf("%w: 192.0.2.1 is gone", wakeup.ErrAddressGone)
	t.Log(g.log.find(t, "lost: this machine's address changed: 192.0.2.1 is gone; reconnecting"))
	eventually(t, func() bool { return h.log.count("joined") == 2 }, h.log.text)
	works(t, g.up(t))
}

// TestSlept: after a sleep the connection is kept if the server answers, and
// given up at once if not.
func TestSlept(t *testing.T) {
	h := startServer(t, pool.TLSSelfSigned, func(cfg *ServerConfig) { cfg.Heartbeat = time.Minute })
	link, err := faults.NewLink(h.addr(), 0)
	require.NoError(t, err)
	t.Cleanup(link.Close)
	cfg := h.clientConfig(startTarget(t, echo))
	cfg.Heartbeat = time.Minute
	cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return link.Dial(ctx) }
	g, machine := onMachine(t, cfg)
	g.up(t)
	machine <- wakeup.ErrSlept
	machine <- wakeup.ErrSlept // taken only after the server has answered the first time
	require.Zero(t, g.log.count("lost"))
	works(t, g)
	link.Mute(0, link.Carried())
	go func() { // either it still finds the answer to the second, or not
		select {
		case machine <- wakeup.ErrSlept:
		case <-g.done:
		}
	}()
	g.log.find(t, "lost: this machine slept; reconnecting")
	works(t, g.up(t))
}

// TestRousedFromAPause: with a long pause before it, the next attempt comes as
// soon as the machine tells of a new address.
func TestRousedFromAPause(t *testing.T) {
	m := make(machine)
	c := &Client{roused: make(chan struct{}, 1), await: m.await}
	c.cfg.Store(&ClientConfig{Heartbeat: DefaultHeartbeat})
	over := make(chan bool)
	go func() { over <- c.pause(t.Context(), time.Hour) }()
	m <- wakeup.ErrAddressNew
	require.True(t, <-over)
	require.False(t, c.pause(t.Context(), time.Millisecond))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("over"))
	require.False(t, c.pause(ctx, time.Hour))
}
