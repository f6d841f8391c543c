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

// forwardPool is for a session's pool for forwards, whose connections this side
// hands out.
func (cfg *ClientConfig) forwardPool(w wire.Welcome) pool.ClientConfig {
	its := cfg.pool(w, wire.KindForward)
	its.MinCap = min(its.MinCap, defaultForwardMin)
	its.Reverse = true
	return its
}

// granted books the server's answer for one forward.
func (cs *clientSession) granted(m wire.Forwarded) error {
	c, up, reason := cs.client, m.Code == wire.OK, ""
	if !up {
		reason = quoteSafe(m.Text)
	}
	c.mu.Lock()
	claim, err := cs.forwards.answered(m.Ref, m.Code)
	if claim == nil {
		c.mu.Unlock()
		return err
	}
	public := claim.of.public.Addr()
	news := c.setStatusLocked(cs, &claim.of.entry, up, public.String(), reason)
	c.mu.Unlock()
	f := claim.of.now.Load()
	if !up {
		if news {
			pool.Tell(c.log, slog.LevelWarn, "forward_denied", facts{"forward", f.Name, "target", f.Target, "code", m.Code, "reason", m.Text},
				"Forward %q is not up: %s%s", f.Name, reason, remedy(m.Code))
		}
		return nil
	}
	cs.forwardOnce.Do(func() { // the server takes none before
		cs.forwardTasks.Go(func() { cs.forwarding.Run(context.Background()) }) // ends with the pool's Close
	})
	if news {
		pool.Tell(c.log, slog.LevelInfo, "forward_up", facts{"forward", f.Name, "network", public.Network(), "listener", public, "target", f.Target},
			"Forward %q is up: %s leads to %s at the server", f.Name, onNetwork(f.network(), public.String()), f.Target)
	}
	return nil
}

// announceForwarded numbers a stream of a forward's user and tells the server of
// it. False: nothing more is opened on this session, or for the claim.
func (cs *clientSession) announceForwarded(claim *claim[*forward], message func(number uint32) wire.Message) (uint32, bool) {
	select {
	case <-cs.link.Done():
		return 0, false
	default:
	}
	sent := false
	number, ok := cs.numbers.next(func(n uint32) {
		if !cs.leaving && !claim.withdrawn { // a number that is not used is none that is used twice
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
	cs.numbers.mu.Lock()
	defer cs.numbers.mu.Unlock()
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
		for at := cs; at != nil && at.numbers == cs.numbers; at = at.successor(ctx) {
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
	if m.Stream > cs.numbers.latest() {
		return fmt.Errorf("the server answers for stream %d, which was never opened", m.Stream)
	}
	return cs.questions.answered(m)
}
