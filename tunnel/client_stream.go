package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/tunnelpool/pool/internal/relay"
	"github.com/tunnelpool/pool/internal/service"
	"github.com/tunnelpool/pool/internal/wire"
)

const (
	// pairWait bounds how far an Open may be ahead of its connection, and of
	// the START on it.
	pairWait = 3 * time.Second

	// maxPending bounds the streams that a server may announce without
	// starting them.
	maxPending = 4096
)

// open begins a stream that the server announced.
func (cs *clientSession) open(number uint32, ref uint16, end streamEnd) error {
	c := cs.client
	if int(ref) >= len(c.cfg.Services) {
		return fmt.Errorf("the server opened a stream for service %d, which we do not have", ref)
	}
	if err := c.ledger.open(number, end); err != nil {
		return fmt.Errorf("the server opened stream %d: %w", number, err)
	}
	if c.pending.Add(1) > maxPending {
		c.pending.Add(-1)
		c.ledger.over(number)
		c.count.unstarted.Add(1)
		c.log.Debug("Stream %d not served: %d are announced already", number, maxPending)
		return nil
	}
	c.active.add()
	c.tasks.Add(1)
	go cs.attend(number, ref, end) // ends with the stream, or when that is at rest
	return nil
}

const (
	// lateWait is how long the answer to a cancel waits for a connection that is
	// announced and not here: its handshake may be about to end.
	lateWait = 500 * time.Millisecond
	lateLook = 5 * time.Millisecond
)

// answer tells the server what became of a stream. It does not hold up the
// session; answers that wait are bounded as announced streams are.
func (cs *clientSession) answer(number uint32) {
	c := cs.client
	tell := func() {
		cs.link.Send(wire.Canceled{Stream: number, Outcome: wire.Outcome(c.ledger.cancel(number))})
	}
	if _, settled := c.ledger.here(number); settled {
		tell()
		return
	}
	if c.answers.Add(1) > maxPending {
		c.answers.Add(-1)
		tell()
		return
	}
	c.tasks.Go(func() { // ends within lateWait
		defer c.answers.Add(-1)
		limit := time.NewTimer(lateWait)
		defer limit.Stop()
		look := time.NewTicker(lateLook)
		defer look.Stop()
		for settled := false; !settled; {
			select {
			case <-look.C:
				_, settled = c.ledger.here(number)
			case <-limit.C:
				settled = true
			case <-cs.link.Done():
				return
			}
		}
		tell()
	})
}

// attend serves one user: its connection, and a stream on it.
func (cs *clientSession) attend(number uint32, ref uint16, end streamEnd) {
	c := cs.client
	conn, err := cs.take(end)
	if err != nil {
		c.count.unstarted.Add(1)
		c.log.Debug("Stream %d: its connection is not here: %v", number, err)
		c.attended(number)
		return
	}
	target, reached := &c.targets[ref], false
	relay.Attend(c.streams, conn, relay.Task{
		Number:    number,
		StartWait: pairWait,
		Commit: func() bool {
			committed := c.ledger.commit(number)
			if committed {
				c.count.streams.Add(1)
			}
			return committed
		},
		Dial: func(ctx context.Context) (net.Conn, wire.ResetReason) {
			conn, refused := c.dialTarget(ctx, target)
			reached = refused == 0
			return conn, refused
		},
		Reserve: func() bool { return end.reserve(conn) },
	}, func(res relay.Result) {
		c.count.sent.Add(res.Sent)
		c.count.received.Add(res.Received)
		end.giveBack(conn, res.Keep)
		if reached {
			c.served.Add(-1)
		}
		if res.Err != nil {
			c.log.Debug("Stream %d broke: %v", number, res.Err)
		}
		c.attended(number)
	})
}

// attended ends what open began.
func (c *Client) attended(number uint32) {
	c.ledger.over(number)
	c.active.done()
	c.tasks.Done()
}

// take waits for the announced connection. What is pending ends with it: the
// START that must follow is bounded by the connections there are.
func (cs *clientSession) take(end streamEnd) (net.Conn, error) {
	defer cs.client.pending.Add(-1)
	ctx, cancel := context.WithTimeout(cs.client.streams, pairWait)
	defer cancel()
	return end.take(ctx)
}

// target is what the client remembers of one service's target.
type target struct {
	service Service
	trouble seldom
}

// dialTarget connects to the target, once per user. Failures are told now and
// then, with what they mean.
func (c *Client) dialTarget(ctx context.Context, t *target) (net.Conn, wire.ResetReason) {
	conn, reason, err := c.reach(ctx, t)
	if err == nil {
		return conn, 0
	}
	c.count.refused.Add(1)
	if muted, ok := t.trouble.pass(time.Now()); ok && reason != wire.ResetShutdown {
		c.log.Warn("Service %q: %s%s", t.service.Name, explainTarget(t.service.Target, reason, err), mutedNote(muted))
	}
	return nil, reason
}

// reach dials the target, unless there are as many streams as there may be. On
// success the stream counts among them.
func (c *Client) reach(ctx context.Context, t *target) (net.Conn, wire.ResetReason, error) {
	if c.served.Add(1) > int64(c.cfg.MaxStreams) {
		c.served.Add(-1)
		return nil, wire.ResetOverloaded, errOverloaded
	}
	conn, reason, err := service.DialTarget(ctx, t.service.Target)
	if err != nil {
		c.served.Add(-1)
	}
	return conn, reason, err
}

var errOverloaded = errors.New("as many streams as there may be; see --max-streams and the limit of open files (ulimit -n, LimitNOFILE=)")

func mutedNote(muted int) string {
	if muted == 0 {
		return ""
	}
	return fmt.Sprintf(" (and %d users before)", muted)
}
