// Package faults makes bad networks on the loopback of one machine, for the
// demo and for tests. What it adds is simulated, and results measured through
// it should be labelled so.
package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// chunkSize and window bound what is under way in each direction of a
	// connection, 4 MiB in all; what is beyond waits with the sender, as on a
	// real path.
	chunkSize = 64 << 10
	window    = 64
)

// Link stands for a long network path to a target: a TCP forwarder on loopback
// whose every byte arrives a fixed time after it was sent, in order. Half-close
// and reset travel with the same delay. All methods are safe for concurrent
// use.
type Link struct {
	listener net.Listener
	target   string
	oneWay   time.Duration
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	tasks    sync.WaitGroup // the accept loop and all connections

	mu       sync.Mutex // guards what follows
	carried  int64      // connections so far
	carrying map[int64]context.CancelCauseFunc
	mute     [bothWays]span
	stall    span
	changed  chan struct{} // closed and replaced when a fault begins or ends
}

// NewLink opens a link to target, a host:port, on a free loopback port. The
// caller closes it.
func NewLink(target string, oneWay time.Duration) (*Link, error) {
	if oneWay < 0 {
		return nil, fmt.Errorf("link to %s: the delay %v is negative", target, oneWay)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("link to %s: %w", target, err)
	}
	l := &Link{listener: listener, target: target, oneWay: oneWay,
		carrying: make(map[int64]context.CancelCauseFunc), changed: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.tasks.Go(l.accept) // ends when Close closes the listener
	return l, nil
}

// Addr is the host:port that leads over the link to the target.
func (l *Link) Addr() string { return l.listener.Addr().String() }

// Dial connects over the link as one would over such a path: it waits for the
// round trip of TCP's handshake first. The caller closes the connection.
func (l *Link) Dial(ctx context.Context) (net.Conn, error) {
	if !sleep(ctx, 2*l.oneWay) {
		return nil, fmt.Errorf("dial over the link to %s: %w", l.target, ctx.Err())
	}
	return new(net.Dialer).DialContext(ctx, "tcp", l.Addr())
}

// Carried returns how many connections came over the link so far: the number
// of the next.
func (l *Link) Carried() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int(l.carried)
}

// Close resets every connection on both ends and returns when no goroutine of
// the link is left. It may be called more than once.
func (l *Link) Close() {
	l.cancel()
	l.listener.Close()
	l.tasks.Wait()
}

func (l *Link) accept() {
	for {
		near, err := l.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors, most likely
			sleep(l.ctx, 10*time.Millisecond)
			continue
		}
		l.mu.Lock()
		number := l.carried
		l.carried++
		ctx, end := context.WithCancelCause(l.ctx)
		l.carrying[number] = end
		l.mu.Unlock()
		l.tasks.Go(func() { // ends with the connection, or Close
			l.carry(ctx, end, near, number)
			end(nil)
			l.mu.Lock()
			delete(l.carrying, number)
			l.mu.Unlock()
		})
	}
}

// carry owns near: it connects it with the target and returns when both are
// closed. end ends it.
func (l *Link) carry(ctx context.Context, end context.CancelCauseFunc, near net.Conn, number int64) {
	far, err := new(net.Dialer).DialContext(ctx, "tcp", l.target)
	if err != nil {
		sleep(ctx, l.oneWay) // the refusal's way back
		l.passed(ctx, number)
		hangUp(near, context.Cause(ctx))
		return
	}
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		hangUp(near, context.Cause(ctx))
		hangUp(far, context.Cause(ctx))
	})
	var ways sync.WaitGroup
	ways.Go(func() { l.way(ctx, end, near, far, number, ToTarget) })
	ways.Go(func() { l.way(ctx, end, far, near, number, FromTarget) })
	ways.Wait()
	if stop() { // both directions ended in order
		near.Close()
		far.Close()
		return
	}
	<-closed
}

// parcel is something under way.
type parcel struct {
	due  time.Time
	data []byte // none: the direction's end
	err  error  // io.EOF, or how the sender broke
}

// way carries one direction. An end that is not in order ends the pair, when
// it is due.
func (l *Link) way(ctx context.Context, end context.CancelCauseFunc, from, to net.Conn, number int64, way Way) {
	queue := make(chan parcel, window)
	go collect(ctx, from, queue, l.oneWay) // ends with from, which ends with ctx
	lost := false
	for p := range queue {
		if !sleep(ctx, time.Until(p.due)) || !l.passed(ctx, number) {
			continue // drain, so that collect ends
		}
		if lost = lost || l.muted(number, way); lost {
			continue
		}
		switch {
		case p.err == io.EOF:
			to.(*net.TCPConn).CloseWrite()
		case p.err != nil:
			end(errCut)
		default:
			if _, err := to.Write(p.data); err != nil {
				sleep(ctx, l.oneWay) // the reset's way back
				end(errCut)
			}
		}
	}
}

// collect puts what from sends on its way.
func collect(ctx context.Context, from net.Conn, queue chan<- parcel, delay time.Duration) {
	defer close(queue)
	buf := make([]byte, chunkSize)
	for {
		n, err := from.Read(buf)
		due := time.Now().Add(delay)
		if n > 0 {
			queue <- parcel{due: due, data: bytes.Clone(buf[:n])}
		}
		if err != nil {
			queue <- parcel{due: due, err: err}
			return
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// sleep reports whether d passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// hangUp closes conn so that its peer sees a reset, or an end of file where
// that is how.
func hangUp(conn net.Conn, how error) {
	if how == errHungUp {
		conn.Close()
		return
	}
	reset(conn)
}

// reset closes conn so that its peer sees a reset.
func reset(conn net.Conn) {
	if t, ok := conn.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	conn.Close()
}
