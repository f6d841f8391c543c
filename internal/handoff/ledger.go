package handoff

import (
	"cmp"
	"errors"
	"time"
)

// The bounds of a ledger's memory. Who opened a stream asks within its users'
// wait, so what is older than that is of no use to it.
const (
	Memory     = time.Minute
	maxEntries = 1 << 16
)

// ErrOrder: the server reused or went back behind a stream number.
var ErrOrder = errors.New("stream number out of order")

// Ledger is the memory, at the end that streams lead to, of what became of each
// stream number, over all sessions of a client. Its zero value is empty. It is not
// safe for concurrent use.
type Ledger struct {
	// Most is how many numbers are remembered, default 65,536. It must be above
	// the number of streams that can be announced and not begun.
	Most int

	// Midway: numbers may have been given out before this ledger began. Those below
	// the first one that is opened are unknown. Only the zero value can be set so.
	Midway bool

	last      uint32
	forgotten uint32 // the highest number that fell out of entries
	entries   map[uint32]outcome
	order     []entered // oldest first, and so in the order of the numbers
}

type outcome uint8

const (
	pending   outcome = iota // announced; START has not been answered
	committed                // answered with ACK, or promised to be
	refused                  // can never commit
)

type entered struct {
	number uint32
	at     time.Time
}

// Last is the highest number seen.
func (l *Ledger) Last() uint32 { return l.last }

// Open enters an announced number.
func (l *Ledger) Open(number uint32, now time.Time) error {
	if number <= l.last {
		return ErrOrder
	}
	if l.Midway {
		l.Midway, l.forgotten = false, number-1
	}
	l.enter(number, pending, now)
	return nil
}

// Commit is the one step that makes a stream this client's. False: a cancel
// came first, and the connection must be closed.
func (l *Ledger) Commit(number uint32) bool {
	switch o, ok := l.entries[number]; {
	case !ok || o == refused:
		return false
	}
	l.entries[number] = committed
	return true
}

// Drop gives a number up that cannot be served: it will not commit.
func (l *Ledger) Drop(number uint32) {
	if o, ok := l.entries[number]; ok && o == pending {
		l.entries[number] = refused
	}
}

// Cancel answers the server's cancel. startHere tells that START is readable on
// the connection, at a last look: then the stream is as good as committed, and
// will be.
//
// A number that was never announced is refused for good: the announcement was
// lost with its control connection, and cannot come any more. That holds also
// for one that later numbers went past, as long as it cannot be a number that
// was announced and forgotten.
func (l *Ledger) Cancel(number uint32, startHere bool, now time.Time) Answer {
	if l.Midway {
		l.last = max(l.last, number) // it will not commit
		return Unknown
	}
	if number > l.last {
		l.enter(number, refused, now)
		return Refused
	}
	o, ok := l.entries[number]
	switch {
	case !ok && number <= l.forgotten:
		return Unknown
	case !ok: // went past: Open refuses it
		return Refused
	case o == committed:
		return Committed
	case o == pending && startHere:
		l.entries[number] = committed
		return Committed
	}
	l.entries[number] = refused
	return Refused
}

func (l *Ledger) enter(number uint32, o outcome, now time.Time) {
	if l.entries == nil {
		l.entries = make(map[uint32]outcome)
	}
	l.last = number
	l.entries[number] = o
	l.order = append(l.order, entered{number, now})
	most, drop := cmp.Or(l.Most, maxEntries), 0
	for drop < len(l.order) && (len(l.order)-drop > most || now.Sub(l.order[drop].at) > Memory) {
		l.forgotten = l.order[drop].number
		delete(l.entries, l.forgotten)
		drop++
	}
	l.order = l.order[drop:]
}
