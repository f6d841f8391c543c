package datagram

import (
	"sync/atomic"

	"github.com/tunnelpool/pool/internal/wire"
)

const (
	// The buffer of a flow's queue may always grow to sureBuffer, and up to
	// mostBuffer as long as all queues of the process together have no more than
	// maxSpare beyond the former. Two thirds of a buffer may be in use, 64 KiB of
	// sureBuffer, which every datagram fits in, and 1 MiB of mostBuffer: so what is
	// there is moved only after a third has been taken.
	leastBuffer = 3 << 10 // it doubles as it fills
	sureBuffer  = 96 << 10
	mostBuffer  = 1536 << 10
	maxSpare    = 64 << 20
)

var spare atomic.Int64 // what all queues have beyond sureBuffer

// queue holds datagrams in the form of the stream. When there is no room it
// drops the oldest. Not safe for concurrent use.
type queue struct {
	buf  []byte // buf[r:] is in the queue
	r    int
	part int // of those bytes, what is left of a datagram that was taken in part
}

func (q *queue) len() int { return len(q.buf) - q.r }

// add puts a datagram in, and returns how many it dropped for that.
func (q *queue) add(datagram []byte) (dropped int) {
	size := wire.DatagramHeaderSize + len(datagram)
	for !q.fits(size) {
		if q.len() == q.part {
			return dropped + 1 // the new one: what has begun must be sent to its end
		}
		q.dropOldest()
		dropped++
	}
	q.buf = wire.AppendDatagram(q.buf, datagram)
	return dropped
}

// fits makes room for size bytes behind what is there, by moving that or by a
// larger buffer.
func (q *queue) fits(size int) bool {
	need := q.len() + size
	if tooFull(cap(q.buf), need) {
		buffer := max(leastBuffer, 2*cap(q.buf))
		for tooFull(buffer, need) {
			buffer *= 2
		}
		if buffer > mostBuffer || !q.reserve(buffer) {
			return false
		}
		q.move(make([]byte, 0, buffer))
	} else if len(q.buf)+size > cap(q.buf) {
		q.move(q.buf[:0])
	}
	return true
}

func tooFull(buffer, used int) bool { return 3*used > 2*buffer }

func (q *queue) move(to []byte) {
	q.buf = append(to, q.buf[q.r:]...)
	q.r = 0
}

// reserve takes a share of the spare room for a larger buffer.
func (q *queue) reserve(buffer int) bool {
	more := int64(beyondSure(buffer) - beyondSure(cap(q.buf)))
	if spare.Add(more) > maxSpare && more > 0 {
		spare.Add(-more)
		return false
	}
	return true
}

func beyondSure(buffer int) int { return max(buffer-sureBuffer, 0) }

// dropOldest drops the first datagram that is there as a whole.
func (q *queue) dropOldest() {
	b := q.buf[q.r:]
	n, err := wire.ParseDatagramHeader(b[q.part:])
	if err != nil {
		panic("datagram: the queue has lost its place")
	}
	size := wire.DatagramHeaderSize + n
	copy(b[size:], b[:q.part])
	q.r += size
}

// take moves whole datagrams to b, or as much as b holds of one that is larger.
func (q *queue) take(b []byte) int {
	n := q.whole(len(b))
	if n == 0 {
		n = q.begin(len(b))
	}
	copy(b, q.buf[q.r:q.r+n])
	if q.r += n; q.len() == 0 {
		q.emptied()
	}
	return n
}

// whole is how many of the first bytes end with a datagram and are no more than
// most.
func (q *queue) whole(most int) (n int) {
	b := q.buf[q.r:]
	size := q.part
	for size <= min(most, len(b)) {
		n = size
		if n > 0 {
			q.part = 0
		}
		if n == len(b) {
			break
		}
		next, _ := wire.ParseDatagramHeader(b[n:])
		size = n + wire.DatagramHeaderSize + next
	}
	return n
}

// begin takes a part of the first datagram, which is larger than most.
func (q *queue) begin(most int) int {
	if q.part == 0 {
		n, _ := wire.ParseDatagramHeader(q.buf[q.r:])
		q.part = wire.DatagramHeaderSize + n
	}
	n := min(most, q.part)
	q.part -= n
	return n
}

// emptied gives a large buffer up.
func (q *queue) emptied() {
	q.buf, q.r = q.buf[:0], 0
	if cap(q.buf) > sureBuffer {
		q.release()
	}
}

// release gives up the buffer, with what is in it.
func (q *queue) release() {
	spare.Add(int64(-beyondSure(cap(q.buf))))
	q.buf, q.r, q.part = nil, 0, 0
}
