package tunnel

import (
	"sync/atomic"

	"github.com/tunnelpool/pool/internal/shape"
)

// liveRate is a rate that can change while streams are under it. The zero value is
// none.
type liveRate struct {
	limit  atomic.Pointer[shape.Limit] // for streams that begin; nil: none
	latest *shape.Limit                // which streams may have still; its owner's lock guards it
}

// noRate is more bytes a second than any line carries.
const noRate = 1 << 50

// set changes the limit, for streams in progress too: those that have one.
func (r *liveRate) set(bytes int64) {
	switch {
	case bytes > 0 && r.latest == nil:
		r.latest = shape.New(bytes)
	case bytes > 0 && r.latest.Rate() != bytes:
		r.latest.SetRate(bytes)
	case bytes <= 0 && r.limit.Load() != nil:
		r.latest.SetRate(noRate) // for those in progress
	}
	if bytes <= 0 {
		r.limit.Store(nil)
		return
	}
	r.limit.Store(r.latest)
}

// pass reports whether a datagram is within the rate.
func (r *liveRate) pass(way shape.Direction, size int) bool {
	l := r.limit.Load()
	return l == nil || l.Take(way, size)
}
