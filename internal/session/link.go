package session

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/tunnelpool/pool/internal/congestion"
	"github.com/tunnelpool/pool/internal/wire"
)

const (
	// missedBeats is how many heartbeats without a sign of life mean that the
	// peer is gone.
	missedBeats = 3

	// maxBacklog bounds the bytes queued for a peer that does not read.
	maxBacklog = 1 << 20

	// A peer may ping twice as often as the shortest heartbeat asks for; more
	// is a breach of the protocol.
	pingRate  = rate.Limit(2 * time.Second / wire.MinHeartbeat) // per second
	pingBurst = 50
)

// A session starts among the handshakes of its pool, which delay its first
// answers, and the next beat is seconds away. So it pings more often at first,
// never with two pings on their way: a fortieth of what the peer allows.
const (
	earlySpan  = 3 * time.Second
	earlyEvery = 200 * time.Millisecond
)

// probeRate bounds the pings that Sign sends.
const probeRate = rate.Limit(50) // per second

// The ways in which a link ends, for errors.Is.
var (
	ErrSilent   = errors.New("no sign of life")
	ErrBacklog  = errors.New("the peer does not read its messages")
	ErrFlooding = errors.New("the peer pings too often")
	ErrEnded    = errors.New("control connection ended")
)

// Link is one control connection. Create it with [New], give it a [Link.Run],
// and send from any goroutine.
type Link struct {
	conn      net.Conn
	heartbeat time.Duration
	pings     *rate.Limiter // of the peer's
	probes    *rate.Limiter // of ours beside the beats
	rtt       roundTrip
	wake      chan struct{} // buffered: the writer has something to do
	ended     chan struct{} // closed by fail

	mu      sync.Mutex
	pending []byte        // messages to write, encoded
	spare   []byte        // the writer's other buffer
	flushed chan struct{} // closed when nothing is pending; made by Finish
	sign    chan struct{} // closed by the next message; made by Sign
	cause   error         // why it ended; set once

	beat     atomic.Uint64 // nonce of the last ping
	beatSent atomic.Int64  // when it was sent, as time since start; 0: answered
	start    time.Time
}

// New makes a link on a secured and proven connection, which it owns. Beats go
// out every heartbeat, the first at once, and a few more in the first seconds.
func New(conn net.Conn, heartbeat time.Duration) *Link {
	return &Link{
		conn:      conn,
		heartbeat: heartbeat,
		pings:     rate.NewLimiter(pingRate, pingBurst),
		probes:    rate.NewLimiter(probeRate, 1),
		wake:      make(chan struct{}, 1),
		ended:     make(chan struct{}),
		start:     time.Now(),
	}
}

// Run reads messages and passes them to handle, in order, one at a time, until
// the link ends; pings and pongs it keeps to itself. It returns why the link
// ended, never nil, when all its goroutines are gone. An error of handle and
// the end of ctx end the link too.
func (l *Link) Run(ctx context.Context, handle func(wire.Message) error) error {
	stop := context.AfterFunc(ctx, func() { l.fail(context.Cause(ctx)) })
	defer stop()
	var wg sync.WaitGroup
	wg.Go(l.write) // ends with the link
	wg.Go(l.beats) // ends with the link
	l.fail(l.read(handle))
	wg.Wait()
	return l.cause
}

// Done is closed when the link has ended.
func (l *Link) Done() <-chan struct{} { return l.ended }

// Close ends the link for the given reason. The first reason stays.
func (l *Link) Close(cause error) { l.fail(cause) }

func (l *Link) fail(cause error) {
	l.mu.Lock()
	if l.cause == nil {
		l.cause = cause
		close(l.ended)
	}
	l.mu.Unlock()
	l.conn.Close()
}

// Send queues a message. It does not block; a peer that lets the queue grow
// past its bound ends the link. After the end it does nothing.
func (l *Link) Send(m wire.Message) {
	l.mu.Lock()
	if l.cause != nil {
		l.mu.Unlock()
		return
	}
	l.pending = wire.AppendMessage(l.pending, m)
	full := len(l.pending) > maxBacklog
	l.mu.Unlock()
	if full {
		go l.fail(ErrBacklog) // ends soon; to close can take a while, and callers hold locks
		return
	}
	l.kick()
}

// Finish waits up to limit until what was sent is written, and ends the link.
func (l *Link) Finish(limit time.Duration) {
	l.mu.Lock()
	if l.flushed == nil {
		l.flushed = make(chan struct{})
	}
	flushed := l.flushed
	l.mu.Unlock()
	l.kick()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-flushed:
	case <-l.ended:
	case <-t.C:
	}
	l.fail(ErrEnded)
}

func (l *Link) kick() {
	select {
	case l.wake <- struct{}{}:
	default: // the writer will see it
	}
}

// write is the one writer. What queued up while it wrote goes out in one write.
func (l *Link) write() {
	congestion.Steady(l.conn)
	window := congestion.Watch(l.conn)
	for {
		out := l.nextBatch()
		if len(out) == 0 {
			select {
			case <-l.ended:
				return
			case <-l.wake:
			}
			time.Sleep(window.Pause(l.queued()))
			continue
		}
		l.conn.SetWriteDeadline(time.Now().Add(missedBeats * l.heartbeat))
		if _, err := l.conn.Write(out); err != nil {
			l.fail(fmt.Errorf("%w: write: %w", ErrEnded, err))
			return
		}
	}
}

func (l *Link) queued() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending)
}

// nextBatch takes what is pending; the former batch has been written.
func (l *Link) nextBatch() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.pending
	l.pending, l.spare = l.spare[:0], out
	if len(out) == 0 && l.flushed != nil {
		close(l.flushed)
		l.flushed = nil
	}
	return out
}

// read passes messages on until the connection ends or falls silent.
func (l *Link) read(handle func(wire.Message) error) error {
	r := bufio.NewReader(l.conn)
	buf := make([]byte, wire.MessageHeaderSize+wire.MaxMessage)
	for {
		l.conn.SetReadDeadline(time.Now().Add(missedBeats * l.heartbeat))
		m, err := wire.ReadMessage(r, buf)
		if err != nil {
			return l.readError(err)
		}
		l.heard()
		switch m := m.(type) {
		case wire.Ping:
			if !l.pings.Allow() {
				return ErrFlooding
			}
			l.Send(wire.Pong(m))
		case wire.Pong:
			l.answered(m.Nonce)
		default:
			if err := handle(m); err != nil {
				return err
			}
		}
	}
}

func (l *Link) readError(err error) error {
	var ne net.Error
	switch {
	case errors.As(err, &ne) && ne.Timeout():
		return fmt.Errorf("%w for %v", ErrSilent, missedBeats*l.heartbeat)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: closed by the other side", ErrEnded)
	}
	return fmt.Errorf("%w: %w", ErrEnded, err)
}

// beats pings until the link ends, and at first for samples of the round trip
// between the beats.
func (l *Link) beats() {
	beat := time.NewTicker(l.heartbeat)
	defer beat.Stop()
	early := time.NewTicker(earlyEvery)
	defer early.Stop()
	begun := time.Now()
	l.ping()
	for {
		select {
		case <-l.ended:
			return
		case <-beat.C:
			l.ping()
		case <-early.C:
			if l.heartbeat <= earlyEvery || time.Since(begun) > earlySpan {
				early.Stop()
			} else if l.beatSent.Load() == 0 { // the one before was answered
				l.ping()
			}
		}
	}
}

// ping sends a beat. One that is unanswered when the next goes out gives no
// sample: its answer could not be told from the next one's delay.
func (l *Link) ping() {
	nonce := l.beat.Add(1)
	l.beatSent.Store(int64(time.Since(l.start)) + 1)
	l.Send(wire.Ping{Nonce: nonce})
}

func (l *Link) answered(nonce uint64) {
	if nonce != l.beat.Load() {
		return
	}
	if sent := l.beatSent.Swap(0); sent != 0 {
		l.rtt.sample(time.Since(l.start) - time.Duration(sent))
	}
}

// Sign asks for a sign of life and waits for one, whatever the message. False:
// the link or ctx ended first. Those who ask at the same time share a ping.
func (l *Link) Sign(ctx context.Context) bool {
	l.mu.Lock()
	sign := l.sign
	if sign == nil {
		sign = make(chan struct{})
		l.sign = sign
		time.AfterFunc(l.probes.Reserve().Delay(), l.ping)
	}
	l.mu.Unlock()
	select {
	case <-sign:
		return true
	case <-l.ended:
	case <-ctx.Done():
	}
	return false
}

// heard tells those who wait in Sign.
func (l *Link) heard() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sign != nil {
		close(l.sign)
		l.sign = nil
	}
}

// RTT returns the round trip and how much it varies, from the last few
// answers: medians, see roundTrip. 0 before the first answer.
func (l *Link) RTT() (median, variation time.Duration) { return l.rtt.get() }
