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

// ask sends cancel on this session and waits for the answer. False: the session
// or ctx ended first.
func (c *serverSession) ask(ctx context.Context, number uint32) (handoff.Answer, bool) {
	answer := make(chan handoff.Answer, 1)
	c.mu.Lock()
	if c.asked == nil {
		c.asked = make(map[uint32]chan<- handoff.Answer)
	}
	c.asked[number] = answer
	c.owed++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.asked, number)
		c.mu.Unlock()
	}()
	c.server.count.asked.Add(1)
	c.link.Send(wire.Cancel{Stream: number})
	select {
	case a := <-answer:
		return a, true
	case <-c.link.Done():
	case <-ctx.Done():
	}
	return 0, false
}

// canceled takes the client's answer to whoever waits for it. One that nobody
// waits for any more is late; one more than was asked for is a breach.
func (c *serverSession) canceled(m wire.Canceled) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.Stream > c.numbers.latest() {
		return fmt.Errorf("the client answers for stream %d, which was never opened", m.Stream)
	}
	if c.owed--; c.owed < 0 {
		return fmt.Errorf("the client answers for stream %d, which was not asked about", m.Stream)
	}
	if answer := c.asked[m.Stream]; answer != nil {
		delete(c.asked, m.Stream)
		answer <- handoff.Answer(m.Outcome)
	}
	return nil
}

// successor waits for the session that the client came back with after this
// one. Nil: ctx ended first, or the service is gone or another client's.
func (c *serverSession) successor(ctx context.Context, sv *published) *serverSession {
	s, p := c.server, c.publisher
	for {
		s.mu.Lock()
		next, changed, lost := p.session, p.changed, sv.owner != p || sv.withdrawn
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
