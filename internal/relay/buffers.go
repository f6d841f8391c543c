package relay

import (
	"sync"
	"sync/atomic"
)

// One direction of a stream carries bytes through a buffer that it borrows. Most
// streams say little, and a small one does. Where more is there than fits, a
// large one makes fewer and larger system calls of it, and wakes the next in
// line less often, which is what throughput costs. Both are powers of two, so
// that the allocator wastes nothing, and a large one holds a whole frame that is
// within [wire.MaxData].
const (
	smallBuffer = 32 << 10
	largeBuffer = 1 << 20
)

// maxLarge bounds the large buffers that are out at the same time: behind a
// reader that pauses, a stream keeps its own for as long as that likes. Beyond
// the bound streams make do with small ones.
const maxLarge = 64

var (
	smallBuffers = sync.Pool{New: func() any { return &buffer{bytes: make([]byte, smallBuffer)} }}
	largeBuffers = sync.Pool{New: func() any { return &buffer{bytes: make([]byte, largeBuffer)} }}
	largeOut     atomic.Int64
)

type buffer struct{ bytes []byte }

func (b *buffer) large() bool { return len(b.bytes) == largeBuffer }

// borrowBuffer returns a small buffer, or a large one where that is wanted and
// the bound allows it. What is in it is whatever the last one left.
func borrowBuffer(large bool) *buffer {
	if large {
		if largeOut.Add(1) <= maxLarge {
			return largeBuffers.Get().(*buffer)
		}
		largeOut.Add(-1)
	}
	return smallBuffers.Get().(*buffer)
}

func (b *buffer) giveBack() {
	if b.large() {
		largeOut.Add(-1)
		largeBuffers.Put(b)
		return
	}
	smallBuffers.Put(b)
}
