package pool

import (
	"container/list"
	"net/netip"
	"sync"
)

// handshakes are the connections at the front door that are not through it
// yet: how many there may be, and which one makes way for a newcomer. Its
// memory is bounded by its cap: a source is known only as long as one of its
// connections is here.
type handshakes struct {
	max, maxPerSource int

	mu      sync.Mutex // guards everything below
	count   int        // those that wait and those that are through to handle
	waiting list.List  // of *handshakeEntry; in front the one longest without progress
	sources map[netip.Prefix]*handshakeSource
}

// handshakeSource is what one address, or one IPv6 /64, has at the front door.
type handshakeSource struct {
	count   int
	waiting list.List // as handshakes.waiting
}

// handshakeEntry is one connection's place.
type handshakeEntry struct {
	source netip.Prefix // not valid: the connection has no IP address
	abort  func()       // ends the handshake; called without the lock

	// Guarded by handshakes.mu; nil when it no longer waits: evicted or held.
	inAll, inSource *list.Element
	evicted         bool
}

func newHandshakes(limit, limitPerSource int) *handshakes {
	return &handshakes{max: limit, maxPerSource: limitPerSource, sources: make(map[netip.Prefix]*handshakeSource)}
}

// add takes a place for e. At a cap the one longest without progress loses its
// place to e and is aborted. It reports false, and e has no place, only when
// everyone who could make way is already through the proof: whoever proved a
// key is worth more than a stranger.
func (h *handshakes) add(e *handshakeEntry) bool {
	h.mu.Lock()
	evicted, ok := h.makeWayLocked(e.source)
	if ok {
		h.count++
		e.inAll = h.waiting.PushBack(e)
		if e.source.IsValid() {
			s := h.sources[e.source]
			if s == nil {
				s = new(handshakeSource)
				h.sources[e.source] = s
			}
			s.count++
			e.inSource = s.waiting.PushBack(e)
		}
	}
	h.mu.Unlock()
	if evicted != nil {
		evicted.abort()
	}
	return ok
}

// makeWayLocked sees to it that one more of that source fits, if it can. One
// eviction is enough for both caps.
func (h *handshakes) makeWayLocked(source netip.Prefix) (evicted *handshakeEntry, ok bool) {
	queue := &h.waiting
	if s := h.sources[source]; s != nil && s.count >= h.maxPerSource {
		queue = &s.waiting
	} else if h.count < h.max {
		return nil, true
	}
	front := queue.Front()
	if front == nil {
		return nil, false
	}
	evicted = front.Value.(*handshakeEntry)
	evicted.evicted = true
	h.stopWaitingLocked(evicted)
	h.leaveLocked(evicted)
	return evicted, true
}

// progress notes that e passed a stage.
func (h *handshakes) progress(e *handshakeEntry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.inAll == nil {
		return
	}
	h.waiting.MoveToBack(e.inAll)
	if e.inSource != nil {
		h.sources[e.source].waiting.MoveToBack(e.inSource)
	}
}

// hold makes e's place safe from newcomers: from here on its connection is not
// ours to close. It reports false when e lost the place before.
func (h *handshakes) hold(e *handshakeEntry) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.evicted {
		return false
	}
	h.stopWaitingLocked(e)
	return true
}

// remove gives e's place back and reports whether it was lost before.
func (h *handshakes) remove(e *handshakeEntry) (evicted bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.evicted {
		return true
	}
	h.stopWaitingLocked(e)
	h.leaveLocked(e)
	return false
}

// inFlight returns how many places are taken.
func (h *handshakes) inFlight() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

func (h *handshakes) stopWaitingLocked(e *handshakeEntry) {
	if e.inAll != nil {
		h.waiting.Remove(e.inAll)
		e.inAll = nil
	}
	if e.inSource != nil {
		h.sources[e.source].waiting.Remove(e.inSource)
		e.inSource = nil
	}
}

func (h *handshakes) leaveLocked(e *handshakeEntry) {
	h.count--
	if s := h.sources[e.source]; s != nil {
		if s.count--; s.count == 0 {
			delete(h.sources, e.source)
		}
	}
}
