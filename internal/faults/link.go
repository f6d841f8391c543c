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
	"sync/atomic"
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
	tasks    sync.WaitGroup  // the accept loop and all connections
	carried  atomic.Int64    // connections so far
	mute     [2]atomic.Int64 // connections numbered from mute[0] to mute[1] lose everything
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
	l := &Link{listener: listener, target: target, oneWay: oneWay}
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

// Carried returns how many connections came over the link so far.
func (l *Link) Carried() int { return int(l.carried.Load()) }

// Mute loses everything on the connections numbered from first to before last,
// counted from 0 in the order they came, as a middlebox does that forgot their
// flows: neither bytes nor ends pass, and neither side is told. A later call
// replaces the range; Mute(0, 0) lets all pass again.
func (l *Link) Mute(first, last int) {
	l.mute[0].Store(int64(first))
	l.mute[1].Store(int64(last))
}

func (l *Link) muted(number int64) bool {
	return number >= l.mute[0].Load() && number < l.mute[1].Load()
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
		number := l.carried.Add(1) - 1
		l.tasks.Go(func() { l.carry(near, number) }) // ends with the connection, or Close
	}
}

// carry owns near: it connects it with the target and returns when both are
// closed.
func (l *Link) carry(near net.Conn, number int64) {
	far, err := new(net.Dialer).DialContext(l.ctx, "tcp", l.target)
	if err != nil {
		sleep(l.ctx, l.oneWay) // the refusal's way back
		reset(near)
		return
	}
	ctx, end := context.WithCancel(l.ctx)
	defer end()
	stop := context.AfterFunc(ctx, func() { reset(near); reset(far) })
	var ways sync.WaitGroup
	ways.Go(func() { l.way(ctx, end, near, far, number) })
	ways.Go(func() { l.way(ctx, end, far, near, number) })
	ways.Wait()
	if stop() { // both directions ended in order
		near.Close()
		far.Close()
	}
}

// parcel is something under way.
type parcel struct {
	due  time.Time
	data []byte // none: the direction's end
	err  error  // io.EOF, or how the sender broke
}

// way carries one direction. An end that is not in order ends the pair, when
// it is due.
func (l *Link) way(ctx context.Context, end func(), from, to net.Conn, number int64) {
	queue := make(chan parcel, window)
	go collect(ctx, from, queue, l.oneWay) // ends with from, which ends with ctx
	for p := range queue {
		if !sleep(ctx, time.Until(p.due)) {
			continue // drain, so that collect ends
		}
		if l.muted(number) {
			continue
		}
		switch {
		case p.err == io.EOF:
			to.(*net.TCPConn).CloseWrite()
		case p.err != nil:
			end()
		default:
			if _, err := to.Write(p.data); err != nil {
				sleep(ctx, l.oneWay) // the reset's way back
				end()
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

// reset closes conn so that its peer sees a reset.
func reset(conn net.Conn) {
	if t, ok := conn.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	conn.Close()
}
