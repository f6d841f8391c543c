package logging

import pool "github.com/tunnelpool/pool"

// kept bounds the recent events.
const kept = 200

// ring keeps the last events. Its zero value is empty.
type ring struct {
	events []pool.Event
	next   int // where the next one goes, once it is full
}

func (r *ring) add(e pool.Event) {
	if len(r.events) < kept {
		r.events = append(r.events, e)
		return
	}
	r.events[r.next] = e
	r.next = (r.next + 1) % kept
}

// all returns them in order, in a slice of its own.
func (r *ring) all() []pool.Event {
	return append(append(make([]pool.Event, 0, len(r.events)), r.events[r.next:]...), r.events[:r.next]...)
}
