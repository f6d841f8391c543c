package pool

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

// batch is the TCP connection below TLS. TLS writes and reads a record of
// 16 KiB at a time; where more than that is moved, a batch makes one system
// call of several, and wakes the other side once for them. It does so only
// inside the calls of a holder's [Conn], and outside them holds nothing but
// bytes that were read and not yet asked for.
type batch struct {
	*net.TCPConn
	raw syscall.RawConn

	// reading is held for a whole read of the holder's, as TLS holds a lock of
	// its own. TLS reads within it, and then heeds what follows.
	reading sync.Mutex
	ahead   int  // how much of what is encrypted may be read beyond what TLS asks for
	now     bool // come back at once when there is nothing
	full    bool // the last read left no room: there is probably more

	mu     sync.Mutex   // guards what follows
	unread []byte       // what was read and not asked for yet
	in     *batchBuffer // whose bytes those are, during a read of the holder's
	closed bool

	writing  sync.Mutex   // guards what follows, but for flushing
	holders  int          // writes of holders in progress: records are collected
	out      *batchBuffer // nil: none
	held     []byte       // the records, in out
	writeErr error        // sticks: records are missing
	flushing atomic.Bool  // what was collected is being written, which a peer can hold up
}

// batchSize is how much of encrypted bytes one system call moves at most.
const batchSize = 256 << 10

// maxBatches bounds the buffers that are out at the same time, since a peer that
// pauses holds one up for as long as it likes. Beyond it each record is moved by
// itself.
const maxBatches = 128

type batchBuffer [batchSize]byte

var (
	batchBuffers = sync.Pool{New: func() any { return new(batchBuffer) }}
	batchesOut   atomic.Int64
)

// borrowBatch returns nil when too many are out.
func borrowBatch() *batchBuffer {
	if batchesOut.Add(1) > maxBatches {
		batchesOut.Add(-1)
		return nil
	}
	return batchBuffers.Get().(*batchBuffer)
}

func (b *batchBuffer) giveBack() {
	batchesOut.Add(-1)
	batchBuffers.Put(b)
}

// batched puts a batch on conn where it can be one.
func batched(conn net.Conn) net.Conn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return conn
	}
	return &batch{TCPConn: tcp, raw: raw}
}

// batchBelow finds the batch under a TLS connection, or nil.
func batchBelow(conn net.Conn) *batch {
	l, ok := conn.(layered)
	if !ok {
		return nil
	}
	b, _ := l.NetConn().(*batch)
	return b
}

// NetConn returns the socket.
func (b *batch) NetConn() net.Conn { return b.TCPConn }

// readThrough reads from the TLS connection on top of b: what there is, up to p.
// It waits for the first byte only.
func (b *batch) readThrough(session net.Conn, p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	b.ahead = len(p) - aFew // so that TLS, which keeps some itself, leaves nothing unread
	n, err := session.Read(p)
	for b.now = true; err == nil && len(p)-n >= recordSize; {
		var more int
		more, err = session.Read(p[n:])
		n += more
	}
	b.now, b.ahead = false, 0
	b.shrinkUnread()
	if n > 0 {
		err = nil // nothing yet; or TLS remembers it for the next read
	}
	return n, err
}

// readOwn has TLS take what is there, without waiting, for its own use: session
// tickets, new keys. It reports whether that was all.
func (b *batch) readOwn(session net.Conn) bool {
	if !b.reading.TryLock() {
		return false
	}
	defer b.reading.Unlock()
	b.ahead, b.full, b.now = batchSize, true, true
	var one [1]byte
	n, err := session.Read(one[:])
	b.ahead, b.full, b.now = 0, false, false
	b.shrinkUnread()
	return n == 0 && isTimeout(err)
}

// recordSize is the most that a TLS record carries.
const recordSize = 16 << 10

// aFew records are moved one by one: they are not worth a buffer that a peer may
// hold up.
const aFew = 4 * recordSize

// Read is TLS's.
func (b *batch) Read(p []byte) (int, error) {
	if n := b.takeUnread(p); n > 0 {
		return n, nil
	}
	if b.ahead > 0 && b.full {
		if n, err := b.readAhead(p); err != errNothingYet {
			return n, err
		}
	}
	if b.now {
		return 0, errNothingYet
	}
	n, err := b.TCPConn.Read(p)
	b.full = n == len(p)
	return n, err
}

func (b *batch) takeUnread(p []byte) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := copy(p, b.unread)
	if b.unread = b.unread[n:]; len(b.unread) == 0 {
		b.dropUnreadLocked()
	}
	return n
}

func (b *batch) dropUnreadLocked() {
	if b.in != nil {
		b.in.giveBack()
	}
	b.in, b.unread = nil, nil
}

// shrinkUnread gives the buffer back that bytes are left in, which is seldom: who
// pauses holds no more than those.
func (b *batch) shrinkUnread() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.in != nil {
		rest := bytes.Clone(b.unread)
		b.dropUnreadLocked()
		b.unread = rest
	}
}

// Close closes the socket. What was read and not asked for is lost.
func (b *batch) Close() error {
	b.mu.Lock()
	b.closed = true
	b.dropUnreadLocked()
	b.mu.Unlock()
	return b.TCPConn.Close()
}

// readAhead reads what is there beyond p, without waiting.
func (b *batch) readAhead(p []byte) (int, error) {
	b.full = false
	in := borrowBatch()
	if in == nil {
		return 0, errNothingYet
	}
	space := in[:min(len(in), b.ahead)]
	n, err := readNow(b.raw, space)
	if err != nil {
		in.giveBack()
		return 0, err
	}
	b.full = n == len(space)
	b.ahead -= n
	b.mu.Lock()
	b.in, b.unread = in, in[:n]
	if b.closed {
		b.dropUnreadLocked()
	}
	b.mu.Unlock()
	if n = b.takeUnread(p); n == 0 {
		return 0, net.ErrClosed
	}
	return n, nil
}

// readCall carries one read of a socket through RawConn.Read. Pooled for the
// same reason as probeCall.
type readCall struct {
	p     []byte
	n     int
	again bool
	err   error
	once  func(fd uintptr) bool
}

var readCalls = sync.Pool{New: func() any {
	c := new(readCall)
	c.once = func(fd uintptr) bool {
		c.n, c.again, c.err = readSocket(fd, c.p)
		return true
	}
	return c
}}

// readNow reads a socket without waiting: it returns errNothingYet instead.
func readNow(raw syscall.RawConn, p []byte) (int, error) {
	c := readCalls.Get().(*readCall)
	defer readCalls.Put(c)
	c.p = p
	err := raw.Read(c.once)
	c.p = nil
	switch {
	case err != nil: // the deadline, or the connection is closed
		return 0, err
	case c.again:
		return 0, errNothingYet
	case c.err != nil:
		return 0, os.NewSyscallError("read", c.err)
	case c.n == 0:
		return 0, io.EOF
	}
	return c.n, nil
}

// errNothingYet passes through TLS without breaking it, as a timeout does.
var errNothingYet net.Error = nothingYet{}

type nothingYet struct{}

func (nothingYet) Error() string   { return "nothing to read yet" }
func (nothingYet) Timeout() bool   { return true }
func (nothingYet) Temporary() bool { return true }

// writeThrough writes to the TLS connection on top of b, and what that made of
// it to the socket.
func (b *batch) writeThrough(session net.Conn, p []byte) (int, error) {
	written := 0
	for {
		part := p[written:min(len(p), written+batchPayload)]
		b.hold()
		n, err := session.Write(part)
		if failed := b.flush(); err == nil && failed != nil {
			n, err = 0, failed
		}
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// batchPayload is what fits a batch once it is in records, these being small
// at first.
const batchPayload = batchSize - recordSize

func (b *batch) hold() {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.holders++
	if b.out == nil {
		if b.out = borrowBatch(); b.out != nil {
			b.held = b.out[:0]
		}
	}
}

// Write is TLS's.
func (b *batch) Write(p []byte) (int, error) {
	b.writing.Lock()
	defer b.writing.Unlock()
	if b.out != nil && len(b.held)+len(p) > len(b.out) {
		b.flushLocked()
	}
	switch {
	case b.writeErr != nil:
		return 0, b.writeErr
	case b.out == nil || len(p) > len(b.out):
		return b.TCPConn.Write(p)
	}
	b.held = append(b.held, p...)
	return len(p), nil
}

// flush ends a hold.
func (b *batch) flush() error {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.flushLocked()
	if b.holders--; b.holders == 0 && b.out != nil {
		b.out.giveBack()
		b.out, b.held = nil, nil
	}
	return b.writeErr
}

func (b *batch) flushLocked() {
	if len(b.held) == 0 || b.writeErr != nil {
		return
	}
	b.flushing.Store(true)
	_, b.writeErr = b.TCPConn.Write(b.held)
	b.flushing.Store(false)
	b.held = b.held[:0]
}
