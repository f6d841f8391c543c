package pool

import "time"

// idleOrder holds the idle connections of several pools, those that have been
// idle for longest first. The budget's lock guards it, and the fields of entry
// that it uses.
type idleOrder struct{ oldest, youngest *entry }

// push puts e at the end, unless it has a place already.
func (o *idleOrder) push(e *entry) {
	if e.ordered {
		return
	}
	e.ordered = true
	e.older = o.youngest
	if o.youngest == nil {
		o.oldest = e
	} else {
		o.youngest.younger = e
	}
	o.youngest = e
}

// remove takes e out, if it is in.
func (o *idleOrder) remove(e *entry) {
	if !e.ordered {
		return
	}
	e.ordered = false
	if e.older == nil {
		o.oldest = e.younger
	} else {
		e.older.younger = e.younger
	}
	if e.younger == nil {
		o.youngest = e.older
	} else {
		e.younger.older = e.older
	}
	e.older, e.younger = nil, nil
}

// shareHeap is a container/heap of the pools that want a place, in the order of
// their takers who have been waiting for longest. Each connection that a pool has
// counts as one turn that they came later: one that wants a hundred holds up
// nobody, and is not passed by newcomers for ever.
type shareHeap []*share

func (h shareHeap) Len() int { return len(h) }

func (h shareHeap) Less(i, j int) bool { return h[i].rank().Before(h[j].rank()) }

func (s *share) rank() time.Time { return s.oldest.Add(time.Duration(s.held) * shareTurn) }

func (h shareHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *shareHeap) Push(x any) {
	s := x.(*share)
	s.index = len(*h)
	*h = append(*h, s)
}

func (h *shareHeap) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return s
}
