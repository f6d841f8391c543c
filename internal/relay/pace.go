package relay

import (
	"context"
	"net"

	"github.com/tunnelpool/pool/internal/shape"
)

// A stream with a limit moves its bytes past the endpoint in pieces, each when it
// is due, and so takes from the pooled connection or carrier no more than that:
// what is beyond waits with the peer. One without does none of this.

// hold gives the stream a limit, or none.
func (s *stream) hold(l *shape.Limit) {
	if l == nil {
		return
	}
	s.limit = l
	s.halted, s.halt = context.WithCancel(context.Background()) // finish ends it
}

// haltLocked ends waiting for what is due: nothing more is to be moved.
func (s *stream) haltLocked() {
	if s.halt != nil {
		s.halt()
	}
}

// piece is how much of room may be read at once.
func (s *stream) piece(room int) int {
	if s.limit == nil {
		return room
	}
	return min(room, s.limit.Piece())
}

// await waits until what was read of the endpoint may go on. False: the stream
// was aborted or broke, and the endpoint is closed.
func (s *stream) await(n int) bool {
	return s.limit == nil || s.limit.Wait(s.halted, shape.FromEndpoint, n) == nil
}

// spend counts what goes on without waiting.
func (s *stream) spend(n int) {
	if s.limit != nil {
		s.limit.Spend(shape.FromEndpoint, n)
	}
}

// toEndpoint writes to the endpoint.
func (s *stream) toEndpoint(b []byte) error {
	if s.limit == nil {
		_, err := s.end.Write(b)
		return err
	}
	for len(b) > 0 {
		piece := b[:min(len(b), s.limit.Piece())]
		if err := s.limit.Wait(s.halted, shape.ToEndpoint, len(piece)); err != nil {
			return err
		}
		if _, err := s.end.Write(piece); err != nil {
			return err
		}
		b = b[len(piece):]
	}
	return nil
}

// bulkTo is the endpoint if large pieces may go there.
func (s *stream) bulkTo(end net.Conn) net.Conn {
	if s.limit != nil {
		return nil
	}
	return end
}
