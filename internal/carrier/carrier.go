package carrier

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/tunnelpool/pool/internal/wire"
)

const (
	// firstRoom is what each direction of a stream may have on its way unread at
	// first, mostRoom what it grows to where it is read as fast as it comes, and
	// spareRoom what all streams of a carrier may have beyond the first together:
	// the bounds of what a peer can have us keep.
	firstRoom = 32 << 10
	mostRoom  = 256 << 10
	spareRoom = 16 << 20

	// slack is what frames other than DATA may take without room.
	slack = 64

	// pieceSize is the most payload of one DATA frame, so that streams take turns.
	pieceSize = 16 << 10

	// outSize is how much waits to be written until DATA has to wait for it, and
	// outMost at which a peer that makes us answer does not read.
	outSize = 128 << 10
	outMost = 1 << 20

	// kernelQueue is how much may wait in the socket for the path, where the
	// system can be told.
	kernelQueue = 64 << 10

	// maxStreams is how many a server begins on one carrier.
	maxStreams = 1024

	// What a client keeps of streams that it was not told of yet.
	maxUnclaimed      = 4096
	maxUnclaimedBytes = 16 << 20
	claimTime         = 3 * time.Second

	// flushTime bounds how long the last frames may take to be written.
	flushTime = time.Second

	// missedBeats is how many heartbeats without a frame put a carrier in doubt,
	// and end one without streams.
	missedBeats = 3
)

// The ways in which a carrier ends, for errors.Is.
var (
	ErrSilent   = errors.New("no sign of life")
	ErrProtocol = errors.New("protocol error")
	ErrBacklog  = errors.New("the peer does not read")
	ErrFull     = errors.New("no room for another stream")
	ErrEnded    = errors.New("carrier ended")
)

// Carrier is one side of a connection with many streams. Its methods are safe
// for concurrent use.
type Carrier struct {
	conn   net.Conn
	client bool
	beat   time.Duration
	usable func() // never nil; called without mu
	ended  chan struct{}
	wake   chan struct{} // buffered: there is something to write

	mu       sync.Mutex
	streams  map[uint32]*Stream
	front    []byte        // frames to be written before all others
	out      []byte        // frames to be written
	spare    []byte        // the writer's other buffer
	drained  sync.Cond     // on mu: out was taken
	flushed  chan struct{} // closed when nothing is left to write; made by Finish
	empty    chan struct{} // closed when the last stream is gone; made by Finish
	cause    error         // why it ended; set once
	doubted  bool          // the server's: nobody begins a stream until something comes
	probes   uint32        // sent
	spared   int           // of spareRoom, given to streams
	waiting  int           // unclaimed streams
	unread   int           // their bytes
	finished bool          // no new streams
}

// NewServer makes the server's side on a secured and proven connection, which
// the carrier owns. It probes every beat. usable is called whenever the carrier
// has become usable for new streams again; it must not block.
func NewServer(conn net.Conn, beat time.Duration, usable func()) *Carrier {
	c := newCarrier(conn, beat)
	c.usable = usable
	return c
}

// NewClient makes the client's side. beat is the server's.
func NewClient(conn net.Conn, beat time.Duration) *Carrier {
	c := newCarrier(conn, beat)
	c.client = true
	return c
}

func newCarrier(conn net.Conn, beat time.Duration) *Carrier {
	queueLittle(conn)
	c := &Carrier{
		conn: conn, beat: beat, usable: func() {},
		ended: make(chan struct{}), wake: make(chan struct{}, 1),
		streams: make(map[uint32]*Stream),
	}
	c.drained.L = &c.mu
	return c
}

// Run carries until the carrier ends, and says why, never nil. All goroutines
// are gone then.
func (c *Carrier) Run() error {
	var tasks sync.WaitGroup
	tasks.Go(c.write) // ends with the carrier
	if !c.client {
		tasks.Go(c.probeOften) // ends with the carrier
	}
	c.fail(c.read())
	tasks.Wait()
	return c.cause
}

// Done is closed when the carrier has ended.
func (c *Carrier) Done() <-chan struct{} { return c.ended }

// Close ends the carrier and all its streams.
func (c *Carrier) Close() { c.fail(ErrEnded) }

func (c *Carrier) fail(cause error) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause = cause
		close(c.ended)
		for _, s := range c.streams {
			s.wakeLocked()
		}
		c.drained.Broadcast()
	}
	c.mu.Unlock()
	c.conn.Close()
}

// Finish lets the streams there are end, and then the carrier, once all is
// written that was sent. A side that leaves it to the other to end it waits for
// that first, up to grace. Finish returns when the carrier has ended, and may be
// called again meanwhile.
func (c *Carrier) Finish(grace time.Duration) {
	c.mu.Lock()
	c.finished = true
	if c.empty == nil {
		c.empty = make(chan struct{})
	}
	c.noteEmptyLocked()
	empty := c.empty
	c.mu.Unlock()
	select {
	case <-empty:
	case <-c.ended:
		return
	}
	c.flush()
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-t.C:
		c.Close()
	case <-c.ended:
	}
}

func (c *Carrier) noteEmptyLocked() {
	if c.empty != nil && len(c.streams) == 0 {
		select {
		case <-c.empty:
		default:
			close(c.empty)
		}
	}
}

// Open begins stream number on the server.
func (c *Carrier) Open(number uint32) (*Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.cause != nil:
		return nil, fmt.Errorf("%w: %w", ErrEnded, c.cause)
	case c.finished, c.streams[number] != nil:
		return nil, ErrEnded
	case len(c.streams) >= maxStreams:
		return nil, ErrFull
	}
	return c.addLocked(number), nil
}

// Usable reports whether a stream that is begun now can be expected to go ahead
// at once, and how many there are already.
func (c *Carrier) Usable() (streams int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ok = c.cause == nil && !c.finished && !c.doubted && len(c.streams) < maxStreams && len(c.out) < outSize
	return len(c.streams), ok
}

// Take is the client's end of stream number, whose START may have come or not.
func (c *Carrier) Take(number uint32) (*Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return nil, fmt.Errorf("%w: %w", ErrEnded, c.cause)
	}
	s := c.streams[number]
	switch {
	case s == nil:
		return c.addLocked(number), nil
	case s.claim == nil:
		return nil, fmt.Errorf("%w: stream %d was begun already", ErrProtocol, number)
	}
	s.claimedLocked()
	return s, nil
}

// Started reports on the client whether START of the stream has come.
func (c *Carrier) Started(number uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[number]
	return s != nil && s.started
}

// Doubt asks the client for a sign of life, on the server. Until there is one
// the carrier is not usable.
func (c *Carrier) Doubt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doubted = true
	c.probeLocked()
}

func (c *Carrier) probeLocked() {
	c.probes = max(c.probes+1, 1)
	c.sendFirstLocked(wire.FrameProbe, c.probes)
}

// probeOften keeps the path open and learns when it is dead.
func (c *Carrier) probeOften() {
	beat := time.NewTicker(c.beat)
	defer beat.Stop()
	for {
		select {
		case <-c.ended:
			return
		case <-beat.C:
			c.mu.Lock()
			c.probeLocked()
			c.mu.Unlock()
		}
	}
}

func (c *Carrier) addLocked(number uint32) *Stream {
	s := &Stream{carrier: c, number: number, room: firstRoom, given: firstRoom, window: firstRoom}
	s.changed.L = &c.mu
	c.streams[number] = s
	return s
}

// removeLocked forgets a stream and what was kept for it.
func (c *Carrier) removeLocked(s *Stream) {
	if c.streams[s.number] != s {
		return
	}
	delete(c.streams, s.number)
	s.claimedLocked()
	c.spared -= s.window - firstRoom
	s.unread.release()
	c.noteEmptyLocked()
}
