package faults

import (
	"context"
	"errors"
	"fmt"
)

// Connections of a link are numbered from 0 in the order they came. A fault
// befalls those numbered from first to before last, also such as come later;
// the range 0, 0 is nobody's.

// Way is a direction over the link.
type Way uint8

const (
	ToTarget   Way = iota // from who dialed to the target
	FromTarget            // from the target to who dialed
	bothWays
)

// span is the range of a fault.
type span struct{ first, last int64 }

func newSpan(first, last int) span { return span{int64(first), int64(last)} }

func (s span) has(number int64) bool { return number >= s.first && number < s.last }

// Mute loses everything on the connections from first to before last, in both
// directions, as a middlebox does that forgot their flows: neither bytes nor
// ends pass, and neither side is told. A later call replaces the range. A
// direction on which something was lost stays mute after that, since TCP
// delivers nothing behind a gap.
func (l *Link) Mute(first, last int) {
	l.change(func() { l.mute = [bothWays]span{newSpan(first, last), newSpan(first, last)} })
}

// MuteOneWay is Mute for one direction; the other is left as it is.
func (l *Link) MuteOneWay(way Way, first, last int) {
	if way >= bothWays {
		panic(fmt.Sprintf("faults: there is no way %d", way))
	}
	l.change(func() { l.mute[way] = newSpan(first, last) })
}

// Stall holds up everything on the connections from first to before last, ends
// and resets included, in both directions, as a lost segment or a path that is
// gone for a while does. A later call replaces the range: those that are not
// in it any more go on, and what was held up arrives at once, in order.
func (l *Link) Stall(first, last int) {
	l.change(func() { l.stall = newSpan(first, last) })
}

// Cut resets the connections from first to before last that there are, on both
// ends at once, and returns how many. What was on its way is lost.
func (l *Link) Cut(first, last int) int { return l.end(first, last, errCut) }

// HangUp is Cut with an end of file in place of the reset, as a proxy between
// the two that is stopped in order.
func (l *Link) HangUp(first, last int) int { return l.end(first, last, errHungUp) }

var (
	errCut    = errors.New("cut")
	errHungUp = errors.New("hung up")
)

func (l *Link) end(first, last int, how error) (ended int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for number, end := range l.carrying {
		if newSpan(first, last).has(number) {
			end(how)
			delete(l.carrying, number)
			ended++
		}
	}
	return ended
}

// change makes a fault begin or end, and tells the connections.
func (l *Link) change(set func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	set()
	close(l.changed)
	l.changed = make(chan struct{})
}

// muted reports whether what goes that way is lost.
func (l *Link) muted(number int64, way Way) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mute[way].has(number)
}

// passed waits while the connection is stalled. False: ctx ended.
func (l *Link) passed(ctx context.Context, number int64) bool {
	for {
		l.mu.Lock()
		stalled, changed := l.stall.has(number), l.changed
		l.mu.Unlock()
		if !stalled {
			return ctx.Err() == nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
