package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/relay"
	"github.com/tunnelpool/pool/internal/service"
	"github.com/tunnelpool/pool/internal/wire"
)

// open begins a stream that the server announced, for a user at an address.
func (cs *clientSession) open(number uint32, ref uint16, user string, end streamEnd) error {
	c := cs.client
	to := cs.targetOf(ref)
	if to == nil {
		return fmt.Errorf("the server opened a stream for service %d, which we do not have", ref)
	}
	taken, err := cs.numbers.announced.enter(number, end)
	if err != nil {
		return fmt.Errorf("the server opened stream %d: %w", number, err)
	}
	if !taken {
		c.count.unstarted.Add(1)
		pool.Tell(c.log, slog.LevelDebug, "stream_not_served", facts{"stream", number, "limit", maxPending},
			"Stream %d not served: %d are announced already", number, maxPending)
		return nil
	}
	c.active.add()
	cs.active.add()
	c.tasks.Add(1)
	go cs.attend(number, to, user, end) // ends with the stream, or when that is at rest
	return nil
}

// targetOf is where users of a service are led now, nil if there is no such
// service. One that is withdrawn is there until the server has confirmed it.
func (cs *clientSession) targetOf(ref uint16) *target {
	cs.client.mu.Lock()
	defer cs.client.mu.Unlock()
	if claim := cs.services.byRef[ref]; claim != nil {
		return claim.of.target.Load()
	}
	return nil
}

// attend serves one user: its connection, and a stream on it.
func (cs *clientSession) attend(number uint32, target *target, user string, end streamEnd) {
	c, announced := cs.client, &cs.numbers.announced
	conn, err := announced.take(c.streams, end)
	if err != nil {
		defer announced.gaveUp()
		c.count.unstarted.Add(1)
		pool.Tell(c.log, slog.LevelDebug, "stream_not_served", facts{"stream", number, "error", err},
			"Stream %d: its connection is not here: %v", number, err)
		cs.attended(number)
		return
	}
	reached := false
	target.traffic.open.Add(1)
	relay.Attend(c.streams, conn, relay.Task{
		Number:    number,
		StartWait: pairWait,
		Commit: func() bool {
			committed := announced.commit(number)
			if committed {
				c.count.streams.Add(1)
				target.traffic.streams.Add(1)
			}
			return committed
		},
		Dial: func(ctx context.Context) (net.Conn, wire.ResetReason) {
			conn, refused := c.dialTarget(ctx, target)
			reached = refused == 0
			return conn, refused
		},
		Preface: target.preface(user),
		Limit:   target.streamLimit(),
		Meter:   &target.traffic.Meter,
		Reserve: func() bool { return end.reserve(conn) },
	}, func(res relay.Result) {
		target.traffic.open.Add(-1)
		c.count.sent.Add(res.Sent)
		c.count.received.Add(res.Received)
		end.giveBack(conn, res.Keep)
		if reached {
			c.ended(target)
		}
		if res.Err != nil && pool.Wanted(c.log, slog.LevelDebug) {
			pool.Tell(c.log, slog.LevelDebug, "stream_broke", facts{"stream", number, "error", res.Err}, "Stream %d broke: %v", number, res.Err)
		}
		cs.attended(number)
	})
}

// attended ends what open began.
func (cs *clientSession) attended(number uint32) {
	cs.numbers.announced.over(number)
	cs.active.done()
	cs.client.active.done()
	cs.client.tasks.Done()
}

// dialTarget connects to a target, once per user. Failures are told now and
// then, with what they mean.
func (c *Client) dialTarget(ctx context.Context, t *target) (net.Conn, wire.ResetReason) {
	conn, failures := c.reach(ctx, t)
	if conn != nil {
		return conn, 0
	}
	c.count.refused.Add(1)
	last := failures[len(failures)-1]
	reason := last.Reason
	if muted, ok := t.trouble.pass(time.Now()); ok && reason != wire.ResetShutdown {
		pool.Tell(c.log, slog.LevelWarn, "target_failed",
			facts{"service", t.service.Name, "target", last.Address, "code", reason, "error", last.Err, "muted", muted},
			"Service %q: %s%s", t.service.Name, explainFailures(failures), mutedNote(muted))
	}
	return nil, reason
}

// reach dials a target, unless there are as many streams as there may be. On
// success the stream counts among them.
func (c *Client) reach(ctx context.Context, t *target) (net.Conn, []service.Failure) {
	all, its, most := c.served.Add(1), t.served.Add(1), t.service.MaxStreams
	var full error
	switch {
	case all > int64(c.cfg.Load().MaxStreams):
		full = errOverloaded
	case most > 0 && its > int64(most):
		full = errServiceFull
	}
	if full != nil {
		c.ended(t)
		return nil, []service.Failure{{Address: t.service.Target, Reason: wire.ResetOverloaded, Err: full}}
	}
	if t.service.isUDP() {
		conn, reason, err := c.reachUDP(ctx, t)
		if err != nil {
			c.ended(t)
			return nil, []service.Failure{{Address: t.service.Target, Reason: reason, Err: err}}
		}
		return conn, nil
	}
	conn, failures := t.all.Dial(ctx)
	if conn == nil {
		c.ended(t)
	}
	return conn, failures
}

// ended gives a stream's place back.
func (c *Client) ended(t *target) {
	c.served.Add(-1)
	t.served.Add(-1)
}

var errServiceFull = errors.New("the service has as many users as it may have; see --max-streams-per-service")

var errOverloaded = errors.New("as many streams as there may be; see --max-streams and the limit of open files (ulimit -n, LimitNOFILE=)")

func mutedNote(muted int) string {
	if muted == 0 {
		return ""
	}
	return fmt.Sprintf(" (and %d users before)", muted)
}
