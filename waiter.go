package pool

import (
	"context"
	"time"
)

// waiter is one blocked Get or Take. conn and err are written under the pool's
// lock before ready is closed, and read after it.
type waiter struct {
	ready chan struct{}
	conn  *Conn
	err   error
	since time.Time
	turn  time.Time // when its caller asked first, who may wait once more
	id    ID        // of a Take; zero for a Get

	prev, next *waiter
}

func newWaiter() *waiter {
	now := time.Now()
	return &waiter{ready: make(chan struct{}), since: now, turn: now}
}

// asked is when it came; the zero time of a nil receiver, who need not wait.
func (w *waiter) asked() (t time.Time) {
	if w != nil {
		t = w.turn
	}
	return t
}

// served reports whether the waiter was given something. The pool's lock must
// be held.
func (w *waiter) served() bool { return w.conn != nil || w.err != nil }

// waiterQueue is in the order in which they asked, with removal from the middle.
// The zero value is empty.
type waiterQueue struct {
	head, tail *waiter
	len        int
}

// push looks for its place from the end. Who asked before has few before him there:
// those who came since, which MaxWaiters bounds.
func (q *waiterQueue) push(w *waiter) {
	w.prev = q.tail
	for w.prev != nil && w.prev.turn.After(w.turn) {
		w.next, w.prev = w.prev, w.prev.prev
	}
	if w.prev == nil {
		q.head = w
	} else {
		w.prev.next = w
	}
	if w.next == nil {
		q.tail = w
	} else {
		w.next.prev = w
	}
	q.len++
}

// oldest is when the first in the queue asked; zero if nobody does.
func (q *waiterQueue) oldest() (since time.Time) {
	if q.head != nil {
		since = q.head.turn
	}
	return since
}

func (q *waiterQueue) pop() *waiter {
	w := q.head
	if w != nil {
		q.remove(w)
	}
	return w
}

// remove takes out a waiter that is in this queue.
func (q *waiterQueue) remove(w *waiter) {
	if w.prev == nil {
		q.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	q.len--
}

var errTimeUp = timeUp("timed out")

// overdue is contextError where no connection was waited for.
func overdue(ctx context.Context) error {
	if err := contextError(ctx); err != ErrTimeout {
		return err
	}
	return errTimeUp
}

// contextError is the error of a wait for a connection that ctx ended.
func contextError(ctx context.Context) error {
	if ctx.Err() == context.DeadlineExceeded {
		return ErrTimeout
	}
	return context.Cause(ctx)
}
