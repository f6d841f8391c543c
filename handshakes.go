package pool

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// favoredPlaces is how many times the usual cap a favored source may have at
// the front door: its clients' connections and those of whoever shares its
// address.
const favoredPlaces = 2

// handshakes are the connections at the front door that are not through it
// yet: how many there may be, and which one makes way for a newcomer. Its
// memory is bounded by its cap and by the favored sources: any other is known
// only as long as one of its connections is here.
//
// Sources are of two classes, favored ones and strangers. Either may use every
// place that the other leaves, and at the cap the class that has more loses
// one, so that half of the places is within reach of each at any time.
type handshakes struct {
	max, maxPerSource int

	mu      sync.Mutex // guards everything below
	classes [2]handshakeClass
	sources map[netip.Prefix]*handshakeSource
	favored map[netip.Prefix]int // by how many reasons
}

// Indexes of handshakes.classes.
const (
	classStranger = iota
	classFavored
)

// handshakeClass is what the sources of one class have at the front door.
type handshakeClass struct {
	count   int // those that wait and those that are through to handle
	waiting waitingLine
}

// handshakeSource is what one address, or one IPv6 /64, has at the front door.
type handshakeSource struct {
	count   int
	waiting waitingLine
}

// waitingLine orders those that can make way. Who has said nothing goes first:
// an honest client speaks as soon as it is connected, so that silence, however
// much of it there is, never costs one its place.
type waitingLine struct {
	silent, speaking list.List // of *handshakeEntry; in front the one longest without progress
}

func (l *waitingLine) front() *list.Element {
	if e := l.silent.Front(); e != nil {
		return e
	}
	return l.speaking.Front()
}

// remove takes out e, which is in one of the two.
func (l *waitingLine) remove(e *list.Element) {
	l.silent.Remove(e) // does nothing when e is in the other
	l.speaking.Remove(e)
}

// speak moves e to the end of those that speak.
func (l *waitingLine) speak(e *list.Element) *list.Element {
	l.remove(e)
	return l.speaking.PushBack(e.Value)
}

// handshakeEntry is one connection's place.
type handshakeEntry struct {
	source netip.Prefix // not valid: the connection has no IP address
	abort  func()       // ends the handshake; called without the lock

	// Set by add, and not changed after.
	favored bool
	arrived time.Time

	// Guarded by handshakes.mu; nil when it no longer waits: evicted or held.
	inClass, inSource *list.Element
	evicted           bool
}

func newHandshakes(limit, limitPerSource int) *handshakes {
	return &handshakes{max: limit, maxPerSource: limitPerSource,
		sources: make(map[netip.Prefix]*handshakeSource), favored: make(map[netip.Prefix]int)}
}

// favor makes a source favored until the function it returns is called, once.
// Connections of it that are here already are treated as before.
func (h *handshakes) favor(source netip.Prefix) (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.favored[source]++
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.favored[source]--; h.favored[source] == 0 {
			delete(h.favored, source)
		}
	}
}

// add takes a place for e. At a cap another loses its place to e and is
// aborted: the one longest without progress, those that said nothing first. It
// reports false, and e has no place, only when everyone who could make way is
// already through the proof: whoever proved a key is worth more than a
// stranger.
func (h *handshakes) add(e *handshakeEntry) bool {
	e.arrived = time.Now()
	h.mu.Lock()
	e.favored = h.favored[e.source] > 0
	evicted, ok := h.makeWayLocked(e)
	if ok {
		class := h.classLocked(e)
		class.count++
		e.inClass = class.waiting.silent.PushBack(e)
		if e.source.IsValid() {
			s := h.sources[e.source]
			if s == nil {
				s = new(handshakeSource)
				h.sources[e.source] = s
			}
			s.count++
			e.inSource = s.waiting.silent.PushBack(e)
		}
	}
	h.mu.Unlock()
	if evicted != nil {
		evicted.abort()
	}
	return ok
}

// makeWayLocked sees to it that newcomer fits, if it can. One eviction is
// enough for both caps.
func (h *handshakes) makeWayLocked(newcomer *handshakeEntry) (evicted *handshakeEntry, ok bool) {
	perSource := h.maxPerSource
	if newcomer.favored {
		perSource *= favoredPlaces
	}
	strangers, favored := &h.classes[classStranger], &h.classes[classFavored]
	var front *list.Element
	if s := h.sources[newcomer.source]; s != nil && s.count >= perSource {
		front = s.waiting.front()
	} else if strangers.count+favored.count < h.max {
		return nil, true
	} else {
		more, fewer := strangers, favored
		if favored.count > strangers.count {
			more, fewer = favored, strangers
		}
		if front = more.waiting.front(); front == nil {
			front = fewer.waiting.front()
		}
	}
	if front == nil {
		return nil, false
	}
	evicted = front.Value.(*handshakeEntry)
	h.evictLocked(evicted)
	return evicted, true
}

// evictSilent frees a place, and with it a file descriptor that a newcomer
// needs: the oldest place of a connection that has said nothing since the given
// time, a stranger's first.
func (h *handshakes) evictSilent(since time.Time) {
	var evicted *handshakeEntry
	h.mu.Lock()
	for i := range h.classes {
		front := h.classes[i].waiting.silent.Front()
		if front == nil {
			continue
		}
		if e := front.Value.(*handshakeEntry); e.arrived.Before(since) {
			h.evictLocked(e)
			evicted = e
			break
		}
	}
	h.mu.Unlock()
	if evicted != nil {
		evicted.abort()
	}
}

// progress notes that e's peer spoke, or passed a stage.
func (h *handshakes) progress(e *handshakeEntry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.inClass == nil {
		return
	}
	e.inClass = h.classLocked(e).waiting.speak(e.inClass)
	if e.inSource != nil {
		e.inSource = h.sources[e.source].waiting.speak(e.inSource)
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
	return h.classes[classStranger].count + h.classes[classFavored].count
}

func (h *handshakes) classLocked(e *handshakeEntry) *handshakeClass {
	if e.favored {
		return &h.classes[classFavored]
	}
	return &h.classes[classStranger]
}

func (h *handshakes) evictLocked(e *handshakeEntry) {
	e.evicted = true
	h.stopWaitingLocked(e)
	h.leaveLocked(e)
}

func (h *handshakes) stopWaitingLocked(e *handshakeEntry) {
	if e.inClass != nil {
		h.classLocked(e).waiting.remove(e.inClass)
		e.inClass = nil
	}
	if e.inSource != nil {
		h.sources[e.source].waiting.remove(e.inSource)
		e.inSource = nil
	}
}

func (h *handshakes) leaveLocked(e *handshakeEntry) {
	h.classLocked(e).count--
	if s := h.sources[e.source]; s != nil {
		if s.count--; s.count == 0 {
			delete(h.sources, e.source)
		}
	}
}
