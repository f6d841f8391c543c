package tunnel

import (
	"context"
	"errors"
	"time"

	"github.com/tunnelpool/pool/internal/wire"
)

// A configuration that a session cannot serve outdates it. It stays the current
// one, and serves, until the server has taken its successor in. In most cases that
// is for the server the same client come back, which has replaced the session by
// then; at another server, or with another key, its ports have to be closed before
// the successor asks for them.

var (
	errOutdated  = errors.New("the configuration has changed")
	errSucceeded = errors.New("another session took over")
)

// outdateLocked lets another session begin, which is to take over.
func (cs *clientSession) outdateLocked() {
	if !cs.isOutdated() {
		close(cs.outdated)
	}
}

func (cs *clientSession) isOutdated() bool {
	select {
	case <-cs.outdated:
		return true
	default:
		return false
	}
}

// makeWay ends a session for the one that has just begun, unless the server does
// so: it knows the instance. A session that is nil has ended.
func (cs *clientSession) makeWay(next *clientSession) {
	switch {
	case cs == nil:
	case cs.numbers != next.numbers:
		cs.release()
	default:
		cs.client.tasks.Go(cs.releaseIfLeft) // ends within two release limits
	}
}

// releaseIfLeft ends a session that the server has not replaced: it was another one
// that took the successor in, behind the same name.
func (cs *clientSession) releaseIfLeft() {
	limit := time.NewTimer(releaseLimit)
	defer limit.Stop()
	select {
	case <-cs.link.Done():
	case <-limit.C:
		cs.release()
	}
}

// release withdraws all that the session has, waits until the server has confirmed
// it, and leaves. Streams in progress finish.
func (cs *clientSession) release() {
	c := cs.client
	c.mu.Lock()
	cs.released = true
	c.mu.Unlock()
	cs.change()
	limit := time.NewTimer(releaseLimit)
	defer limit.Stop()
	for waiting := true; waiting; {
		c.mu.Lock()
		left, changed := len(cs.services.byRef)+len(cs.forwards.byRef), c.changed
		c.mu.Unlock()
		if left == 0 {
			break
		}
		select {
		case <-changed:
		case <-cs.retired:
			waiting = false
		case <-cs.link.Done():
			return
		case <-limit.C:
			waiting = false
		}
	}
	cs.sayGoodbye("the client's configuration has changed")
	if cs.forwarding != nil {
		cs.forwarding.Drain(closedContext) // who waits for one of its connections finds the successor
	}
	c.tasks.Go(func() { // ends with the streams, or the drain limit
		ctx, cancel := context.WithTimeout(c.streams, max(c.cfg.Load().Drain, 0))
		defer cancel()
		cs.active.wait(ctx.Done())
		cs.link.Finish(farewellLimit)
	})
}

// sayGoodbye tells the server that the session ends, once.
func (cs *clientSession) sayGoodbye(why string) {
	cs.farewell.Do(func() {
		cs.leave()
		cs.link.Send(wire.GoAway{Code: wire.Shutdown, Text: why})
	})
}
