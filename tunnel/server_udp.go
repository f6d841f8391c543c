package tunnel

import (
	"errors"
	"log/slog"
	"net"
	"strconv"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/datagram"
	"github.com/tunnelpool/pool/internal/shape"
	"github.com/tunnelpool/pool/internal/wire"
)

// flowSilence is the silence after which the server ends a flow. It is longer
// than any that a client allows, which would have ended it: this one is for
// clients that do not.
const flowSilence = MaxUDPIdle

// opener opens ports of the service's network.
func (sv *published) opener() opener {
	if sv.network != wire.NetworkUDP {
		return sv.server.listenTCP
	}
	return func(bind string, port uint16) (net.Listener, error) {
		address := net.JoinHostPort(bind, strconv.Itoa(int(port)))
		// Who is not let in must not take the place of those who are.
		cfg := datagram.Config{Idle: flowSilence, Dropped: sv.dropped, Pass: sv.holder.rate.pass, Welcome: func(user, port net.Addr) bool {
			welcome := sv.from.allow(user)
			if !welcome {
				sv.server.fromElsewhere(user, port)
			}
			return welcome
		}}
		l, err := datagram.Listen(address, sv.server.cfg.Load().MaxFlows, cfg)
		if err != nil {
			return nil, err // and not a Listener that is nil
		}
		return l, nil
	}
}

// streamLimit is what holds the key's streams of a network; nil: nothing does.
// Datagrams are held each for itself, see pass.
func (h *holder) streamLimit(network byte) *shape.Limit {
	if network == wire.NetworkUDP {
		return nil
	}
	return h.rate.limit.Load()
}

// lostDatagrams paces what is logged of them.
type lostDatagrams struct{ crowded, slow, rate seldom }

// dropped counts a datagram that did not get on, and tells of it now and then.
func (sv *published) dropped(why error) {
	s, now := sv.server, time.Now()
	s.count.dropped.Add(1)
	switch {
	case errors.Is(why, datagram.ErrTooMany):
		if muted, ok := sv.lost.crowded.pass(now); ok {
			pool.Tell(s.log, slog.LevelWarn, "datagram_dropped", sv.ofService("reason", why, "limit", s.cfg.Load().MaxFlows, "muted", muted),
				"%s: a user's datagram is dropped: there are as many users as there may be, %d of a UDP service and %d in all; see --max-flows and --max-streams%s",
				sv.label(), s.cfg.Load().MaxFlows, s.cfg.Load().MaxStreams, lostNote(muted))
		}
	case errors.Is(why, datagram.ErrRate):
		if muted, ok := sv.lost.rate.pass(now); ok {
			pool.Tell(s.log, slog.LevelInfo, "datagram_dropped", sv.ofService("reason", why, "muted", muted),
				"%s: a datagram is dropped: there are more than the rate of key %s allows%s", sv.label(), sv.holder.label(), lostNote(muted))
		}
	case errors.Is(why, datagram.ErrSlow):
		if muted, ok := sv.lost.slow.pass(now); ok {
			pool.Tell(s.log, slog.LevelInfo, "datagram_dropped", sv.ofService("reason", why, "muted", muted),
				"%s: a user's datagram is dropped: they come faster than the client takes them%s", sv.label(), lostNote(muted))
		}
	}
}

func lostNote(muted int) string {
	if muted == 0 {
		return ""
	}
	return " (and " + strconv.Itoa(muted) + " before)"
}
