package tunnel

import (
	"context"
	"fmt"
	"time"

	"github.com/tunnelpool/pool/internal/handoff"
	"github.com/tunnelpool/pool/internal/wire"
)

// asker returns what relay calls to learn what became of a stream. The
// question goes out on this session, and when that ends before the answer, on
// the next of the same client instance, which remembers. Nobody is asked past
// the user's patience, save for one who was offered at its very end.
func (c *serverSession) asker(sv *published, number uint32, patience time.Time) func(context.Context) (handoff.Answer, bool) {
	return func(ctx context.Context) (handoff.Answer, bool) {
		limit := time.Now().Add(maxAckWait)
		if limit.Before(patience) {
			limit = patience
		}
		ctx, cancel := context.WithDeadline(ctx, limit)
		defer cancel()
		for at := c; at != nil; at = at.successor(ctx, sv) {
			if at.numbers != c.numbers {
				return 0, false // started anew: it remembers nothing
			}
			// An ACK is late only while the control channel brings something: a
			// client that is busy or stopped is late with everything.
			if !at.link.Sign(ctx) {
				continue
			}
			if a, ok := at.ask(ctx, number); ok {
				return a, true
			}
			if ctx.Err() != nil {
				return 0, false
			}
		}
		return 0, false
	}
}

// ask asks on this session. False: the session or ctx ended first.
func (c *serverSession) ask(ctx context.Context, number uint32) (handoff.Answer, bool) {
	c.server.count.asked.Add(1)
	return c.questions.ask(ctx, c.link, number)
}

// canceled takes the client's answer to whoever waits for it.
func (c *serverSession) canceled(m wire.Canceled) error {
	if m.Stream > c.numbers.latest() {
		return fmt.Errorf("the client answers for stream %d, which was never opened", m.Stream)
	}
	return c.questions.answered(m)
}

// successor waits for the session that the client came back with after this
// one. Nil: ctx ended first, or the service is gone or another client's.
func (c *serverSession) successor(ctx context.Context, sv *published) *serverSession {
	s, p := c.server, c.publisher
	for {
		s.mu.Lock()
		next, changed, lost := p.session, p.changed, sv.lostToLocked(p)
		s.mu.Unlock()
		if lost {
			return nil
		}
		if next != nil && next != c && !next.over() {
			return next
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}
