package relay

import (
	"sync/atomic"

	"github.com/tunnelpool/pool/internal/wire"
)

const (
	// maxKept bounds the copy of one user's bytes before ACK, and maxKeptAll
	// that of all users together. At either bound the user is not read until
	// ACK.
	maxKept    = 64 << 10
	maxKeptAll = 64 << 20

	// keptRead is how much is read at once before ACK: what a user says first
	// is mostly small, and room for it is reserved before it is known.
	keptRead = 8 << 10
)

// keptAll is what all streams of the process keep or have reserved.
var keptAll atomic.Int64

// kept is the copy of what a user sent and nobody has acknowledged. The
// stream's lock guards it.
type kept struct {
	bytes    []byte
	fin      bool  // the user's end-of-file belongs to the copy
	reserved int64 // of keptAll
}

func (k *kept) empty() bool { return len(k.bytes) == 0 && !k.fin }

func (k *kept) release() {
	keptAll.Add(-k.reserved)
	*k = kept{}
}

// awaitRoom returns how much may be read of the user before ACK, at most
// limit. Without room it waits for ACK or the stream's end, and returns 0.
func (s *stream) awaitRoom(limit int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.acked.Load() {
		return 0 // nothing is reserved that settle has released already
	}
	if room := s.roomLocked(limit); room > 0 {
		return room
	}
	for !s.acked.Load() && !s.aborted {
		s.changed.Wait()
	}
	if s.aborted {
		return limit // the read fails, and that is the writer's end
	}
	return 0
}

// roomLocked reserves what may be read at once before ACK, 0 if there is none.
func (s *stream) roomLocked(limit int) int {
	room := min(limit, keptRead, maxKept-len(s.kept.bytes))
	if room <= 0 {
		return 0
	}
	spare := s.kept.reserved - int64(len(s.kept.bytes)) // reserved before, and not filled by that read
	want := int64(room) - spare
	if want > 0 && keptAll.Add(want) > maxKeptAll {
		keptAll.Add(-want)
		return 0
	}
	s.kept.reserved += max(want, 0)
	return room
}

// keep counts what is about to be sent, and adds it to the copy. An ACK that came
// meanwhile has no use for that.
func (s *stream) keep(payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.acked.Load() {
		s.countSent(len(payload))
		return
	}
	s.sent.Add(int64(len(payload)))
	s.kept.bytes = append(s.kept.bytes, payload...)
}

// endKept ends our direction with FIN before ACK: the end-of-file belongs to
// the copy. The caller holds writing.
func (s *stream) endKept() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.acked.Load() {
		s.kept.fin = true
	}
	if s.aborted {
		s.sendResetLocked(wire.ResetAborted)
		return
	}
	s.writeFinLocked()
}

// settle ends the copy: the stream is on this connection, that of o, for good.
func (s *stream) settle(o *Offering) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meter, s.first = o.Meter, o.FirstByte
	if s.meter != nil {
		s.meter.Sent.Add(s.sent.Load())
	}
	s.acked.Store(true)
	s.kept.release()
	s.changed.Broadcast()
}
