package tunnel

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/handoff"
	"github.com/tunnelpool/pool/internal/wire"
)

// defaultForwardMin is how many connections are kept ready for forwards at least.
const defaultForwardMin = 8

// newForwardPool makes the session's pool for forwards, whose connections this
// side hands out. Nil without forwards.
func (c *Client) newForwardPool(w wire.Welcome) (*pool.Pool, error) {
	if len(c.forwards) == 0 {
		return nil, nil
	}
	cfg := c.poolConfig(w, wire.KindForward)
	cfg.MinCap = min(cfg.MinCap, defaultForwardMin)
	cfg.Reverse = true
	return pool.NewClient(cfg)
}

// forwardRequest asks whether users of a forward may come.
func (c *Client) forwardRequest(i int) wire.Forward {
	return wire.Forward{Ref: uint16(i), Network: c.forwards[i].network(), Target: c.forwards[i].Target}
}

// granted books the server's answer for one forward.
func (cs *clientSession) granted(m wire.Forwarded) error {
	c := cs.client
	if int(m.Ref) >= len(c.forwards) {
		return fmt.Errorf("the server answers for forward %d, which we do not have", m.Ref)
	}
	f, i := c.forwards[m.Ref], len(c.cfg.Services)+int(m.Ref)
	if cs.asked[i].Add(-1) < 0 {
		return fmt.Errorf("the server answers for forward %d, which we did not ask about", m.Ref)
	}
	if m.Code != wire.OK {
		cs.final[i].Store(!mayPass(m.Code))
		if c.setStatus(cs, i, false, f.public.Addr().String(), quoteSafe(m.Text)) {
			pool.Tell(c.log, slog.LevelWarn, "forward_denied", facts{"forward", f.Name, "target", f.Target, "code", m.Code, "reason", m.Text},
				"Forward %q is not up: %s%s", f.Name, quoteSafe(m.Text), remedy(m.Code))
		}
		return nil
	}
	cs.forwardOnce.Do(func() { // the server takes none before
		cs.forwardTasks.Go(func() { cs.forwarding.Run(context.Background()) }) // ends with the pool's Close
	})
	if c.setStatus(cs, i, true, f.public.Addr().String(), "") {
		at := f.public.Addr()
		pool.Tell(c.log, slog.LevelInfo, "forward_up", facts{"forward", f.Name, "network", at.Network(), "listener", at, "target", f.Target},
			"Forward %q is up: %s leads to %s at the server", f.Name, onNetwork(f.network(), at.String()), f.Target)
	}
	return nil
}

// announceForwarded numbers a stream of a forward's user and tells the server of
// it. False: nothing more is opened on this session.
func (cs *clientSession) announceForwarded(message func(number uint32) wire.Message) (uint32, bool) {
	select {
	case <-cs.link.Done():
		return 0, false
	default:
	}
	sent := false
	number, ok := cs.client.numbers.next(func(n uint32) {
		if !cs.leaving { // a number that is not used is none that is used twice
			cs.link.Send(message(n))
			sent = true
		}
	})
	if !ok {
		cs.link.Close(errNumbersUsed)
	}
	return number, ok && sent
}

// leave announces nothing more: a side has said GoAway, or is about to.
func (cs *clientSession) leave() {
	n := &cs.client.numbers
	n.mu.Lock()
	defer n.mu.Unlock()
	cs.leaving = true
}

// asker returns what relay calls to learn what became of a forward's stream. The
// question goes out on this session, and when that ends before the answer, on the
// next of the same instance, as the server remembers.
func (cs *clientSession) asker(number uint32, patience time.Time) func(context.Context) (handoff.Answer, bool) {
	return func(ctx context.Context) (handoff.Answer, bool) {
		limit := time.Now().Add(maxAckWait)
		if limit.Before(patience) {
			limit = patience
		}
		ctx, cancel := context.WithDeadline(ctx, limit)
		defer cancel()
		for at := cs; at != nil && at.instance == cs.instance; at = at.successor(ctx) {
			if !at.link.Sign(ctx) {
				continue
			}
			if a, ok := at.questions.ask(ctx, at.link, number); ok {
				return a, true
			}
			if ctx.Err() != nil {
				break
			}
		}
		return 0, false
	}
}

// successor waits for the session that follows this one. Nil: ctx ended first.
func (cs *clientSession) successor(ctx context.Context) *clientSession {
	c := cs.client
	for {
		c.mu.Lock()
		next, changed := c.current, c.changed
		c.mu.Unlock()
		if next != nil && next != cs {
			return next
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// answeredForwarded takes the server's answer to a cancel.
func (cs *clientSession) answeredForwarded(m wire.Canceled) error {
	if m.Stream > cs.client.numbers.latest() {
		return fmt.Errorf("the server answers for stream %d, which was never opened", m.Stream)
	}
	return cs.questions.answered(m)
}
