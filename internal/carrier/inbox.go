package carrier

import (
	"math/bits"
	"sync"
)

// inbox keeps what has come for a stream and was not read. Empty it holds
// little.
type inbox struct {
	bytes []byte
	from  int // bytes[from:] is unread
	large *[largeInbox]byte
}

const (
	smallInbox = 1 << 10
	largeInbox = 64 << 10
)

var largeInboxes = sync.Pool{New: func() any { return new([largeInbox]byte) }}

func (b *inbox) len() int { return len(b.bytes) - b.from }

func (b *inbox) add(more []byte) {
	need := b.len() + len(more)
	if need > cap(b.bytes)-b.from {
		b.grow(need)
	}
	b.bytes = append(b.bytes, more...)
}

// grow moves what is unread to where need bytes fit.
func (b *inbox) grow(need int) {
	old := *b
	switch {
	case need <= cap(old.bytes):
		b.bytes = old.bytes[:0]
	case need > smallInbox && need <= largeInbox:
		b.large = largeInboxes.Get().(*[largeInbox]byte)
		b.bytes = b.large[:0]
	default:
		b.large = nil
		b.bytes = make([]byte, 0, 1<<bits.Len(uint(need)))
	}
	b.bytes = append(b.bytes, old.bytes[old.from:]...)
	b.from = 0
	if old.large != nil && b.large != old.large {
		largeInboxes.Put(old.large)
	}
}

func (b *inbox) take(p []byte) int {
	n := copy(p, b.bytes[b.from:])
	if b.from += n; b.from == len(b.bytes) {
		if cap(b.bytes) > smallInbox {
			b.release()
		} else {
			b.bytes, b.from = b.bytes[:0], 0
		}
	}
	return n
}

// release gives back what is held; what is unread is lost.
func (b *inbox) release() {
	if b.large != nil {
		largeInboxes.Put(b.large)
	}
	*b = inbox{}
}
