package tunnel

import (
	"sync"
	"time"

	"github.com/tunnelpool/pool/internal/handoff"
)

// ledger is the one state of what became of each stream number that the other
// side opened, over all sessions, and where those that are announced will come.
type ledger struct {
	mu        sync.Mutex
	outcomes  handoff.Ledger
	announced map[uint32]streamEnd
}

func (l *ledger) last() uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.outcomes.Last()
}

// open enters an announced stream, and where it will come.
func (l *ledger) open(number uint32, end streamEnd) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.outcomes.Open(number, time.Now()); err != nil {
		return err
	}
	if l.announced == nil {
		l.announced = make(map[uint32]streamEnd)
	}
	l.announced[number] = end
	return nil
}

// commit makes a stream this side's, unless a cancel came first.
func (l *ledger) commit(number uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.outcomes.Commit(number)
}

// over forgets where a stream was to come. One that did not commit never will.
func (l *ledger) over(number uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outcomes.Drop(number)
	delete(l.announced, number)
}

// here looks whether START is there for an announced stream. settled is false
// while its connection is not: then it may still be in its handshake, and it is
// too early to tell.
func (l *ledger) here(number uint32) (start, settled bool) {
	l.mu.Lock()
	at, announced := l.announced[number]
	l.mu.Unlock()
	if !announced {
		return false, true
	}
	return at.started()
}

// cancel answers a cancel, after a last look for START, and buries
// the connection on which nothing came.
func (l *ledger) cancel(number uint32) handoff.Answer {
	start, _ := l.here(number)
	l.mu.Lock()
	at, announced := l.announced[number]
	answer := l.outcomes.Cancel(number, start, time.Now())
	l.mu.Unlock()
	if answer == handoff.Refused && announced {
		at.refused()
	}
	return answer
}
