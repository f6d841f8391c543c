// Package slack gives memory back that a program holds and does not use. Go's
// collector lets the heap grow to twice what is alive before it looks, and what
// it finds then stays with the program for minutes: after a burst of handshakes
// that is as much as the connections themselves take. In a calm moment little
// is lost by looking earlier.
package slack

import (
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// lookEvery is how often the heap is looked at; a look costs microseconds.
	lookEvery = 250 * time.Millisecond

	// worth is the slack from which on a collection is worth it: more than what
	// every Go program lets come before its first, so that a small one is left
	// alone. worthShare is the same as a share of what is alive, which is what a
	// collection costs.
	worth      = 4 << 20
	worthShare = 8

	// calmLooks bounds the collections: while the program allocates steadily it
	// takes this many looks until there is one more, 16 s.
	calmLooks = 64
)

// Release looks after the heap until stop is called, which waits for the end of
// a collection that is under way. One per process is enough.
func Release() (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop
		defer close(done)
		t := time.NewTicker(lookEvery)
		defer t.Stop()
		var heap meter
		before := heap.read()
		for {
			select {
			case <-quit:
				return
			case <-t.C:
			}
			now := heap.read()
			if now.due(before) {
				debug.FreeOSMemory()
				now = heap.read()
			}
			before = now
		}
	}()
	return func() { close(quit); <-done }
}

// look is the state of the heap at one moment, in bytes.
type look struct {
	allocated uint64 // since the program began
	alive     uint64 // what the last collection found
	slack     uint64 // garbage, and what is free and not given back
}

// due reports whether a collection is worth it: there is something to give
// back, and the program did not just now need so much that it soon takes it
// again.
func (l look) due(before look) bool {
	fresh := l.allocated - before.allocated
	return l.slack >= max(worth, l.alive/worthShare, fresh*calmLooks)
}

// meter reads the heap without stopping the program.
type meter [4]metrics.Sample

func (m *meter) read() look {
	for i, name := range [...]string{
		"/gc/heap/allocs:bytes", "/gc/heap/live:bytes",
		"/memory/classes/heap/objects:bytes", "/memory/classes/heap/free:bytes",
	} {
		m[i].Name = name
	}
	metrics.Read(m[:])
	l := look{allocated: m[0].Value.Uint64(), alive: m[1].Value.Uint64()}
	objects, free := m[2].Value.Uint64(), m[3].Value.Uint64()
	l.slack = objects - min(l.alive, objects) + free
	return l
}
