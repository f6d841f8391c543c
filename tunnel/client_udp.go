package tunnel

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"syscall"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/datagram"
	"github.com/tunnelpool/pool/internal/service"
	"github.com/tunnelpool/pool/internal/shape"
	"github.com/tunnelpool/pool/internal/wire"
)

// reachUDP makes a flow to a target of UDP.
func (c *Client) reachUDP(ctx context.Context, t *target) (net.Conn, wire.ResetReason, error) {
	ctx, cancel := context.WithTimeout(ctx, t.service.ConnectTimeout) // it is the name that can take time
	defer cancel()
	cfg := datagram.Config{Idle: t.service.UDPIdle, Pass: t.rate.pass, Dropped: func(why error) { c.droppedBy(t, why) }}
	conn, err := datagram.Dial(ctx, t.service.Target, cfg)
	if err != nil {
		return nil, service.DialReason(ctx, err), err
	}
	return conn, 0, nil
}

// streamLimit is what holds the service's streams; nil: nothing does. Datagrams
// are held each for itself, see reachUDP.
func (t *target) streamLimit() *shape.Limit {
	if t.service.isUDP() {
		return nil
	}
	return t.rate.limit.Load()
}

// droppedBy counts a datagram that did not get on, and tells of it now and then.
func (c *Client) droppedBy(t *target, why error) {
	c.count.dropped.Add(1)
	if errors.Is(why, net.ErrClosed) {
		return
	}
	muted, ok := t.lost.pass(time.Now())
	switch {
	case !ok:
	case errors.Is(why, datagram.ErrSlow):
		pool.Tell(c.log, slog.LevelInfo, "datagram_dropped", facts{"service", t.service.Name, "target", t.service.Target, "reason", why, "muted", muted},
			"Service %q: a datagram of target %s is dropped: they come faster than the tunnel takes them%s",
			t.service.Name, t.service.Target, lostNote(muted))
	case errors.Is(why, datagram.ErrRate):
		pool.Tell(c.log, slog.LevelInfo, "datagram_dropped", facts{"service", t.service.Name, "reason", why, "muted", muted},
			"Service %q: a datagram is dropped: there are more than its --rate allows%s", t.service.Name, lostNote(muted))
	case errors.Is(why, syscall.ECONNREFUSED):
		pool.Tell(c.log, slog.LevelWarn, "datagram_dropped", facts{"service", t.service.Name, "target", t.service.Target, "reason", why, "muted", muted},
			"Service %q: target %s refuses datagrams: is it running?%s", t.service.Name, t.service.Target, lostNote(muted))
	default:
		pool.Tell(c.log, slog.LevelWarn, "datagram_dropped", facts{"service", t.service.Name, "target", t.service.Target, "reason", why, "muted", muted},
			"Service %q: a datagram for target %s is lost: %v%s", t.service.Name, t.service.Target, why, lostNote(muted))
	}
}
