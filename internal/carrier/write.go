package carrier

import (
	"fmt"
	"runtime"
	"time"

	"github.com/tunnelpool/pool/internal/congestion"
	"github.com/tunnelpool/pool/internal/wire"
)

// sendLocked has what was put into front and out written.
func (c *Carrier) sendLocked() {
	if len(c.front)+len(c.out) > outMost && c.cause == nil {
		go c.fail(ErrBacklog) // it takes the lock; ends at once
	}
	select {
	case c.wake <- struct{}{}:
	default: // the writer will see it
	}
}

// sendFirstLocked sends a frame ahead of what other streams have waiting.
func (c *Carrier) sendFirstLocked(t wire.FrameType, number uint32, payload ...byte) {
	if len(c.out) == 0 {
		c.out = wire.AppendFrame(c.out, t, number, payload...)
	} else {
		c.front = wire.AppendFrame(c.front, t, number, payload...)
	}
	c.sendLocked()
}

// write is the one writer. What came together while it wrote goes out in one
// write.
func (c *Carrier) write() {
	window := congestion.Watch(c.conn)
	for {
		out := c.nextBatch()
		if len(out) >= outSize {
			c.usable()
		}
		if len(out) == 0 {
			select {
			case <-c.ended:
				return
			case <-c.wake:
			}
			runtime.Gosched() // who is about to send too, goes along
			time.Sleep(window.Pause(c.queued()))
			continue
		}
		if _, err := c.conn.Write(out); err != nil {
			c.fail(fmt.Errorf("%w: write: %w", ErrEnded, err))
			return
		}
	}
}

func (c *Carrier) queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.front) + len(c.out)
}

// nextBatch takes what is to be written; the former batch has been.
func (c *Carrier) nextBatch() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.out) >= outSize {
		c.drained.Broadcast()
	}
	out := c.out
	if len(c.front) > 0 {
		out = append(c.front, out...)
		c.front = nil
	}
	c.out, c.spare = c.spare[:0], out
	if len(out) == 0 && c.flushed != nil {
		close(c.flushed)
		c.flushed = nil
	}
	return out
}

// flush waits until what was sent is written, flushTime is over, or the carrier
// has ended.
func (c *Carrier) flush() {
	c.mu.Lock()
	if c.flushed == nil {
		c.flushed = make(chan struct{})
	}
	flushed := c.flushed
	c.sendLocked()
	c.mu.Unlock()
	t := time.NewTimer(flushTime)
	defer t.Stop()
	select {
	case <-flushed:
	case <-c.ended:
	case <-t.C:
	}
}

// sendDataLocked sends payload in pieces, as far as there is room for it at the
// other side and in the queue, and waits for that.
func (s *Stream) sendDataLocked(payload []byte) error {
	c := s.carrier
	for len(payload) > 0 {
		if err := s.brokenLocked(); err != nil {
			return err
		}
		switch {
		case s.writeLimit.passed():
			return errDeadline
		case s.room <= wire.FrameHeaderSize:
			s.changed.Wait()
			continue
		case len(c.out) >= outSize:
			c.drained.Wait()
			continue
		}
		n := min(len(payload), pieceSize, s.room-wire.FrameHeaderSize)
		s.room -= wire.FrameHeaderSize + n
		c.out = wire.AppendFrame(c.out, wire.FrameData, s.number, payload[:n]...)
		c.sendLocked()
		payload = payload[n:]
	}
	return nil
}
