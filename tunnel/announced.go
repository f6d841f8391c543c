package tunnel

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tunnelpool/pool/internal/session"
	"github.com/tunnelpool/pool/internal/wire"
)

const (
	// pairWait bounds how far an Open may be ahead of its connection, and of
	// the START on it.
	pairWait = 3 * time.Second

	// maxPending bounds the streams that the other side may announce without
	// starting them.
	maxPending = 4096

	// lateWait is how long the answer to a cancel waits for a connection that is
	// announced and not here: its handshake may be about to end.
	lateWait = 500 * time.Millisecond
	lateLook = 5 * time.Millisecond
)

// announced are the streams that the other side opens here, over all sessions of
// one client.
type announced struct {
	ledger
	pending atomic.Int64 // whose connection has not come
	answers atomic.Int64 // cancels whose answer waits for a connection
}

// enter notes a stream and where it will come. taken is false when too many are
// announced already; the error is a breach. take must follow.
func (a *announced) enter(number uint32, end streamEnd) (taken bool, err error) {
	if err := a.open(number, end); err != nil {
		return false, err
	}
	if a.pending.Add(1) > maxPending {
		a.pending.Add(-1)
		a.over(number)
		return false, nil
	}
	return true, nil
}

// take waits for the connection of a stream that was entered. What is pending
// ends with it: the START that must follow is bounded by the connections there
// are. After an error it ends with gaveUp.
func (a *announced) take(ctx context.Context, end streamEnd) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, pairWait)
	defer cancel()
	conn, err := end.take(ctx)
	if err == nil {
		a.pending.Add(-1)
	}
	return conn, err
}

// gaveUp is the last that a goroutine does whose take has failed, so that there are
// no more of them than may be pending.
func (a *announced) gaveUp() { a.pending.Add(-1) }

// answer tells what became of a stream that the other side asks about. It does
// not hold up the session; answers that wait are bounded as announced streams
// are.
func (a *announced) answer(number uint32, link *session.Link, tasks *sync.WaitGroup) {
	tell := func() {
		link.Send(wire.Canceled{Stream: number, Outcome: wire.Outcome(a.cancel(number))})
	}
	if _, settled := a.here(number); settled {
		tell()
		return
	}
	if a.answers.Add(1) > maxPending {
		a.answers.Add(-1)
		tell()
		return
	}
	tasks.Go(func() { // ends within lateWait
		defer a.answers.Add(-1)
		limit := time.NewTimer(lateWait)
		defer limit.Stop()
		look := time.NewTicker(lateLook)
		defer look.Stop()
		for settled := false; !settled; {
			select {
			case <-look.C:
				_, settled = a.here(number)
			case <-limit.C:
				settled = true
			case <-link.Done():
				return
			}
		}
		tell()
	})
}
