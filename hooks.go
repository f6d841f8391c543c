package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

var (
	errHookClosed = errors.New("the hook closed the connection")
	errHookLate   = timeUp("not done in time")
)

// hookLate is the error of a hook that ctx ended.
func hookLate(ctx context.Context) error {
	if err := contextError(ctx); err != ErrTimeout {
		return fmt.Errorf("not done in time: %w", err)
	}
	return errHookLate
}

// runHook calls a hook on a connection that is nobody else's at the moment,
// until ctx ends: then the connection is closed, which ends calls that hang. So it
// is when the hook panics, in whose goroutine it may be.
func (l *localSide) runHook(ctx context.Context, e *entry, hook func(context.Context, *Conn) error) error {
	if deadline, ok := ctx.Deadline(); ok {
		// A connection without deadlines is closed at that time.
		_ = e.conn.SetDeadline(deadline)
	}
	stop := context.AfterFunc(ctx, func() { closeBelowTLS(e.conn) })
	returned := false
	defer func() {
		if !returned {
			stop()
			e.own.Close() // and out of the books with it
		}
	}()
	err := hook(ctx, e.own)
	returned = true
	switch {
	case !stop():
		return hookLate(ctx)
	case err != nil:
		return err
	case !e.own.live():
		return errHookClosed
	}
	e.noteBackground()
	_ = e.conn.SetDeadline(time.Time{})
	return nil
}

// noteBackground remembers, when nobody uses the connection, whether something
// that was built on it goes on reading there.
func (e *entry) noteBackground() {
	if e.own != nil && e.own.inCall() {
		e.own.use.Or(connBackground)
	}
}

// leftover reports whether a layer above the socket holds bytes that the holder of
// c, or what Setup built on the connection, left unread. conn is c, or on top of it.
func (e *entry) leftover(c *Conn, conn net.Conn) bool {
	if !c.wasRead() && (e.own == nil || !e.own.wasRead()) || e.readElsewhere() {
		return false
	}
	if hasBufferedBytes(conn) {
		return true
	}
	if e.own != nil {
		e.own.use.And(^connRead)
	}
	return false
}

// ownSpoilt reports whether what was built on a connection met an error there.
func (e *entry) ownSpoilt() bool { return e.own != nil && e.own.use.Load()&(connSpoilt|connDead) != 0 }

// readElsewhere reports whether what the peer says on an idle connection is read
// in the background.
func (e *entry) readElsewhere() bool {
	return e.own != nil && (e.own.use.Load()&connBackground != 0 || e.own.inCall())
}
