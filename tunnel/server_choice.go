package tunnel

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/handoff"
	"github.com/tunnelpool/pool/internal/relay"
	"github.com/tunnelpool/pool/internal/wire"
)

// lookAround is how long a user waits for a connection of one client of a group
// before it looks at the others again.
const lookAround = 250 * time.Millisecond

// chooseLocked finds the backend for a user: the one with the fewest users among
// those that are up and did not fail others of late, in turn where several have
// as few. It may be one that is not up, if none is.
func (sv *published) chooseLocked(v *visit) *backend {
	v.grouped, v.others = sv.group != "", sv.shared()
	if !v.others {
		return sv.backends[0]
	}
	now, n := time.Now(), len(sv.backends)
	best, fewest, distrusted, found := 0, int64(0), false, false
	for i := range n {
		at := (sv.turn + i) % n
		b := sv.backends[at]
		if !b.up() {
			continue
		}
		if b.trust.due(now) && !b.mute {
			best = at
			break
		}
		open, doubtful := b.open.Load(), b.trust.doubtful(now)
		if !found || distrusted && !doubtful || distrusted == doubtful && open < fewest {
			best, fewest, distrusted, found = at, open, doubtful, true
		}
	}
	return sv.backends[best]
}

// goToLocked counts the user with a backend from now on.
func (v *visit) goToLocked(b *backend) (*serverSession, uint16) {
	v.leaveBackend()
	v.backend = b
	b.open.Add(1)
	if sv := v.service; v.others {
		sv.turn = slices.Index(sv.backends, b) + 1
		v.onTrial = b.trust.tried(time.Now())
	}
	return b.session, b.ref
}

func (v *visit) leaveBackend() {
	if v.backend != nil {
		v.backend.open.Add(-1)
		v.backend = nil
	}
}

// seek finds a way in a session, or in that of another client of the group if
// there is none in the first; else a place among those who wait for one.
func (v *visit) seek(c *serverSession, ref uint16) (*serverSession, uint16, sought) {
	if !v.others {
		return c, ref, c.seek()
	}
	if w := c.wayNow(); w != nil {
		return c, ref, sought{way: w}
	}
	if w, at, ref := v.wayElsewhere(c); w != nil {
		return at, ref, sought{way: w}
	}
	return c, ref, c.seek()
}

// find waits for what was sought. A user of a group looks at the others now and
// then, without losing its place in the order.
func (v *visit) find(ctx context.Context, c *serverSession, ref uint16, s sought) (way, *serverSession, uint16, error) {
	if s.way != nil || !v.grouped {
		w, err := c.find(ctx, s)
		return w, c, ref, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type found struct {
		way way
		err error
	}
	here := make(chan found, 1)
	go func() { // ends with ctx
		w, err := c.find(ctx, s)
		here <- found{w, err}
	}()
	look := time.NewTicker(lookAround)
	defer look.Stop()
	for {
		select {
		case f := <-here:
			return f.way, c, ref, f.err
		case <-look.C:
		}
		if w, at, ref := v.wayElsewhere(c); w != nil {
			cancel()
			if f := <-here; f.err == nil {
				f.way.giveUp(c)
			}
			return w, at, ref, nil
		}
	}
}

// wayElsewhere finds one at another client of the group, without waiting, or
// nil. The user counts there then.
func (v *visit) wayElsewhere(than *serverSession) (way, *serverSession, uint16) {
	s := v.server
	for _, b := range v.alternatives(than) {
		w := b.session.wayNow()
		if w == nil {
			continue
		}
		v.others = true
		s.mu.Lock()
		v.goToLocked(b.backend)
		s.mu.Unlock()
		return w, b.session, b.ref
	}
	return nil, nil, 0
}

// alternative is a backend with the session that it had when it was looked at.
type alternative struct {
	backend  *backend
	session  *serverSession
	ref      uint16
	doubtful bool
	open     int64
}

// alternatives are the other clients of the group that are up, best first.
func (v *visit) alternatives(than *serverSession) (all []alternative) {
	s := v.server
	s.mu.Lock()
	now := time.Now()
	for _, b := range v.service.backends {
		if b.up() && b.session != than {
			all = append(all, alternative{b, b.session, b.ref, b.trust.doubtful(now), b.open.Load()})
		}
	}
	s.mu.Unlock()
	slices.SortStableFunc(all, func(a, b alternative) int {
		if a.doubtful != b.doubtful {
			if a.doubtful {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.open, b.open)
	})
	return all
}

// asker is what relay calls when an ACK is late. When the answer is late too,
// others of a group are better for the next users: a client that has the answer
// is merely slow, or tells that the connection failed and not it.
func (v *visit) asker(c *serverSession, number uint32) func(context.Context) (handoff.Answer, bool) {
	ask := c.asker(v.service, number, v.patience)
	if !v.others {
		return ask
	}
	sv, b := v.service, v.backend // the visit may go on elsewhere meanwhile
	return func(ctx context.Context) (handoff.Answer, bool) {
		late := time.AfterFunc(minAckWait, func() { sv.doubt(b) })
		defer late.Stop()
		return ask(ctx)
	}
}

// lost ends with the session if there are others to offer the user to.
func (v *visit) lost(c *serverSession) <-chan struct{} {
	if !v.others {
		return nil
	}
	return c.link.Done()
}

// doubt notes that a backend failed a user.
func (sv *published) doubt(b *backend) {
	s, now := sv.server, time.Now()
	s.mu.Lock()
	news := sv.group != "" && b.trust.failed(now)
	others, pause, name := sv.shared(), b.trust.until.Sub(now), b.owner.name
	if news && b.session != nil {
		b.mute = true
		go b.awaitSign(s, b.session) // ends with the session
	}
	s.mu.Unlock()
	if news && others {
		pool.Tell(s.log, slog.LevelWarn, "client_avoided", sv.ofService("client", name, "pause_seconds", pause),
			"%s: client %q failed a user; the others of the group get those who come in the next %v", sv.label(), name, pause)
	}
}

// awaitSign lets users be tried on a backend once its client shows that it is
// there: one that is frozen would keep each of them for as long as they wait.
func (b *backend) awaitSign(s *Server, c *serverSession) {
	if c.link.Sign(s.streams) {
		s.mu.Lock()
		b.mute = false
		s.mu.Unlock()
	}
}

// judge notes how the user's last backend did. One whose target cannot be
// reached ends its users soonest and so would have the fewest, and get all.
func (v *visit) judge(res relay.Result) {
	b := v.backend
	switch {
	case b == nil:
		return
	case !v.grouped:
	case errors.Is(res.Err, relay.ErrNoAck), turnedDown(res.Reset):
		v.service.doubt(b)
	case v.onTrial:
		v.server.mu.Lock()
		b.trust.restored()
		v.server.mu.Unlock()
	}
	v.leaveBackend()
}

// turnedDown reports whether a client had no target for a user.
func turnedDown(why wire.ResetReason) bool {
	switch why {
	case wire.ResetRefused, wire.ResetUnreachable, wire.ResetTimeout, wire.ResetOverloaded, wire.ResetInternal:
		return true
	}
	return false
}
