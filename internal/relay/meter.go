package relay

import "sync/atomic"

// Meter counts payload while it passes, of all streams that have it: what their
// endpoints sent, and what was received for them. The caller owns it, and may read
// it at any time.
type Meter struct{ Sent, Received atomic.Int64 }

// countSent counts what goes out after ACK.
func (s *stream) countSent(n int) {
	s.sent.Add(int64(n))
	if s.meter != nil {
		s.meter.Sent.Add(int64(n))
	}
}
