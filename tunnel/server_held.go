package tunnel

import (
	"context"
	"errors"
	"slices"
)

// line holds the users of a service who are held, in order of arrival. The first
// asks for a connection when the service is up, and makes way for the next.
// Server.mu guards it.
type line []*visit

// join puts v behind those who came before it. A user who waited for a
// connection of a session that ended comes before those who came later.
func (l *line) join(v *visit) {
	if v.held {
		return
	}
	i := len(*l)
	for i > 0 && v.patience.Before((*l)[i-1].patience) {
		i--
	}
	*l = slices.Insert(*l, i, v)
	v.held = true
	if v.turn == nil {
		v.turn = make(chan struct{}, 1)
	}
}

// leave takes v out, and tells who is the first then.
func (l *line) leave(v *visit) {
	i := slices.Index(*l, v)
	*l = slices.Delete(*l, i, i+1)
	v.held = false
	if len(*l) > 0 {
		select {
		case (*l)[0].turn <- struct{}{}:
		default: // told already
		}
	}
}

// clear reports whether nobody is before v.
func (l line) clear(v *visit) bool { return len(l) == 0 || l[0] == v }

// session is the one that the service is up in. While there is none, or others
// who were held are before it, the user is held. It stays in line until
// leaveLine.
func (v *visit) session(ctx context.Context) (c *serverSession, ref uint16, err error) {
	s, sv := v.server, v.service
	for {
		s.mu.Lock()
		b := sv.chooseLocked(v)
		withdrawn, changed := sv.withdrawn, sv.changed
		up := b.up()
		if !withdrawn && !(up && sv.line.clear(v)) {
			sv.line.join(v)
		}
		ready := up && sv.line.clear(v) // it may have joined before all others
		if ready {
			c, ref = v.goToLocked(b)
		}
		s.mu.Unlock()
		switch {
		case withdrawn:
			v.leaveLine()
			return nil, 0, errWithdrawn
		case ready:
			return c, ref, nil
		}
		select {
		case <-changed:
		case <-v.turn:
		case <-ctx.Done():
			v.leaveLine()
			if ctx.Err() != context.DeadlineExceeded {
				return nil, 0, context.Cause(ctx) // the user left
			}
			return nil, 0, errAway
		}
	}
}

// leaveLine makes way for those who are held behind this user.
func (v *visit) leaveLine() {
	if !v.held { // the visit's own to change
		return
	}
	v.server.mu.Lock()
	defer v.server.mu.Unlock()
	v.service.line.leave(v)
}

var (
	errAway      = errors.New("the client is away")
	errWithdrawn = errors.New("the service is gone")
)
