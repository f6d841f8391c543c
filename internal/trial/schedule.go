package trial

import "time"

type eventKind uint8

const (
	takerComes eventKind = iota
	clientLearnsTake
	serverHasDialed
	clientHasDialed
	dialRefused
	useEnds
	serverHasReturned
	serverMayTell
	clientLearnsNeed
	ruleWakes
)

type event struct {
	at   time.Duration
	seq  int // of two at one time, the one that was scheduled first
	kind eventKind
	n    int           // takerComes: which; clientLearnsNeed: how many wait; ruleWakes: which call of wakeAt
	from time.Duration // clientHasDialed, dialRefused: when the dial began
}

func (e *event) before(o *event) bool {
	return e.at < o.at || e.at == o.at && e.seq < o.seq
}

// schedule is a binary heap of events, the next one first. It is not
// container/heap because that allocates for each of some ten million events.
type schedule struct {
	heap []event
	seq  int
}

func (s *schedule) next() *event { return &s.heap[0] }

func (s *schedule) push(e event) {
	e.seq = s.seq
	s.seq++
	s.heap = append(s.heap, e)
	for i := len(s.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !s.heap[i].before(&s.heap[parent]) {
			return
		}
		s.heap[i], s.heap[parent] = s.heap[parent], s.heap[i]
		i = parent
	}
}

func (s *schedule) pop() event {
	first, last := s.heap[0], len(s.heap)-1
	s.heap[0] = s.heap[last]
	s.heap = s.heap[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return first
		}
		if child+1 < last && s.heap[child+1].before(&s.heap[child]) {
			child++
		}
		if !s.heap[child].before(&s.heap[i]) {
			return first
		}
		s.heap[i], s.heap[child] = s.heap[child], s.heap[i]
		i = child
	}
}
