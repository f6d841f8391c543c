package main

import (
	"sync"
	"time"
)

// truncated is the target's side of short: a question that ended in order and
// was not whole.
const truncated failure = "truncated"

// weather remembers which faults there were, and what each may have done to
// users.
type weather struct {
	mu     sync.Mutex
	spells []*spell
}

// spell is one fault. A failure that it may cause is excused when the visit
// was under way at some time from its beginning to its end.
type spell struct {
	name       string
	may        []failure
	begun, end time.Time // end is zero while it lasts
}

// begin notes that a fault is about to begin, and what it may do.
func (w *weather) begin(name string, may ...failure) *spell {
	s := &spell{name: name, may: may, begun: time.Now()}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spells = append(w.spells, s)
	return s
}

// over notes that the fault does no more harm. Only the first call counts.
func (w *weather) over(s *spell) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.end.IsZero() {
		s.end = time.Now()
	}
}

// excuse names a fault that explains a failure between two times.
func (w *weather) excuse(how failure, from, to time.Time) (name string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.spells {
		if s.begun.After(to) || !s.end.IsZero() && s.end.Before(from) {
			continue
		}
		for _, f := range s.may {
			if f == how {
				return s.name, true
			}
		}
	}
	return "", false
}
