package tunnel

import (
	"context"
	"slices"
	"sync"
	"time"
)

// crowd bounds the users there are. Those for whom there is no place wait in
// order, one of each public port at the server and the rest in the system's
// queue of the port, so that users cannot take the descriptors that control
// connections and the front door need.
type crowd struct {
	mu     sync.Mutex    // guards what follows
	wait   time.Duration // for a place, from when there was none
	places int
	inside int
	queue  []chan struct{} // of those who wait, in order; closed for who gets a place
	since  time.Time       // there has been no place since then; zero: there is
}

func newCrowd(places int, wait time.Duration) *crowd {
	return &crowd{places: places, wait: wait}
}

// enter takes a place, waiting for one in order. False: there was none for the
// whole wait, or ctx ended.
func (c *crowd) enter(ctx context.Context) bool {
	turn, until := c.queueUp()
	if turn == nil {
		return true
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	select {
	case <-turn:
		return true
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.queue, turn)
	if i < 0 {
		return true // it got its place in this moment
	}
	c.queue = slices.Delete(c.queue, i, i+1)
	return false
}

// tryEnter takes a place if there is one at once.
func (c *crowd) tryEnter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tryEnterLocked()
}

func (c *crowd) tryEnterLocked() bool {
	if c.inside >= c.places || len(c.queue) > 0 {
		return false
	}
	c.inside++
	c.since = time.Time{}
	return true
}

// queueUp takes a place at once, if there is one: turn is nil then. Else it says
// until when to wait. Behind one who waited in vain nobody waits again until
// there is a place: those in the system's queue have waited as long.
func (c *crowd) queueUp() (turn chan struct{}, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tryEnterLocked() {
		return nil, time.Time{}
	}
	if c.since.IsZero() {
		c.since = time.Now()
	}
	turn = make(chan struct{})
	c.queue = append(c.queue, turn)
	return turn, c.since.Add(c.wait)
}

func (c *crowd) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inside--
	c.letInLocked()
}

// set changes how many places there are, and how long to wait for one. Who is inside
// stays.
func (c *crowd) set(places int, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.places, c.wait = places, wait
	c.letInLocked()
}

func (c *crowd) letInLocked() {
	for c.inside < c.places && len(c.queue) > 0 {
		close(c.queue[0])
		c.queue = slices.Delete(c.queue, 0, 1)
		c.inside++
		c.since = time.Time{}
	}
}
