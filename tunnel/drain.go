package tunnel

import (
	"context"
	"log/slog"
	"sync"
	"time"

	pool "github.com/tunnelpool/pool"
)

// drainNotice is how often the progress of a drain is logged at most.
const drainNotice = 5 * time.Second

// drainStreams waits until no stream is in progress, ctx ends or the limit has
// passed, and logs how it goes. A negative limit is none at all.
func drainStreams(ctx context.Context, active *tally, limit time.Duration, log pool.Logger) {
	open := active.count()
	if open == 0 || limit < 0 {
		return
	}
	pool.Tell(log, slog.LevelInfo, "stopping", facts{"streams", open, "limit_seconds", limit},
		"Stopping: %d streams have %v to finish", open, limit)
	end := time.Now().Add(limit)
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	for open > 0 && ctx.Err() == nil {
		notice, next := context.WithTimeout(ctx, drainNotice)
		left := active.wait(notice.Done())
		next()
		if left > 0 && left != open && ctx.Err() == nil {
			limit = time.Until(end).Round(time.Second)
			pool.Tell(log, slog.LevelInfo, "stopping", facts{"streams", left, "limit_seconds", limit},
				"Stopping: %d streams are left, and have %v", left, limit)
		}
		open = left
	}
	if open > 0 {
		pool.Tell(log, slog.LevelWarn, "streams_cut", facts{"streams", open}, "Stopping: %d streams did not finish and are cut", open)
	}
}

// tally counts what is in progress and lets one wait for none.
type tally struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed when n falls to 0; made by wait
}

func (t *tally) add() {
	t.mu.Lock()
	t.n++
	t.mu.Unlock()
}

func (t *tally) done() {
	t.mu.Lock()
	t.n--
	if t.n == 0 && t.none != nil {
		close(t.none)
		t.none = nil
	}
	t.mu.Unlock()
}

func (t *tally) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}

// wait waits until none is in progress, but not past end. It returns how many
// are left.
func (t *tally) wait(end <-chan struct{}) int {
	t.mu.Lock()
	if t.n == 0 {
		t.mu.Unlock()
		return 0
	}
	if t.none == nil {
		t.none = make(chan struct{})
	}
	none := t.none
	t.mu.Unlock()
	select {
	case <-none:
	case <-end:
	}
	return t.count()
}
