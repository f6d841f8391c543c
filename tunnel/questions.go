package tunnel

import (
	"context"
	"fmt"
	"sync"

	"github.com/tunnelpool/pool/internal/handoff"
	"github.com/tunnelpool/pool/internal/session"
	"github.com/tunnelpool/pool/internal/wire"
)

// questions are the cancels that were sent on one session.
type questions struct {
	mu    sync.Mutex
	asked map[uint32]chan<- handoff.Answer // who waits for the answer
	owed  int                              // answers that are due, those that nobody waits for any more included
}

// ask sends cancel and waits for the answer. False: the session or ctx ended
// first.
func (q *questions) ask(ctx context.Context, link *session.Link, number uint32) (handoff.Answer, bool) {
	answer := make(chan handoff.Answer, 1)
	q.mu.Lock()
	if q.asked == nil {
		q.asked = make(map[uint32]chan<- handoff.Answer)
	}
	q.asked[number] = answer
	q.owed++
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		delete(q.asked, number)
		q.mu.Unlock()
	}()
	link.Send(wire.Cancel{Stream: number})
	select {
	case a := <-answer:
		return a, true
	case <-link.Done():
	case <-ctx.Done():
	}
	return 0, false
}

// answered takes an answer to whoever waits for it. One that nobody waits for any
// more is late; one more than was asked for is a breach.
func (q *questions) answered(m wire.Canceled) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.owed--; q.owed < 0 {
		return fmt.Errorf("an answer for stream %d, which was not asked about", m.Stream)
	}
	if answer := q.asked[m.Stream]; answer != nil {
		delete(q.asked, m.Stream)
		answer <- handoff.Answer(m.Outcome)
	}
	return nil
}
