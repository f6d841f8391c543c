package relay

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"syscall"
)

// source reads a connection through a buffer that it borrows. Where it has
// access to the socket it borrows only when there is something to read, so that
// a stream that is idle holds no buffer.
type source struct {
	conn net.Conn
	raw  syscall.RawConn // nil: the buffer is held during a read

	buf  *[bufferSize]byte // nil: none is borrowed
	from int               // the part of it that is read into
	to   int
	look bool // come back at once when there is nothing
	n    int  // what attempt has read
	err  error
	try  func(fd uintptr) bool // attempt, bound once
}

// newSource reads conn, whose socket is used directly if it is plain TCP.
func newSource(conn net.Conn) *source {
	in := &source{conn: conn}
	if canPark {
		if tcp, ok := plainTCP(conn); ok {
			in.raw, _ = tcp.SyscallConn()
		}
	}
	in.try = in.attempt
	return in
}

// plainTCP finds the socket whose bytes are those of conn, which may be a
// pool's handle of it. Under TLS there is none, nor under a layer that a user of
// the library put there.
func plainTCP(conn net.Conn) (*net.TCPConn, bool) {
	if _, ok := conn.(*tls.Conn); ok {
		return nil, false
	}
	if l, ok := conn.(layered); ok {
		conn = l.NetConn()
	}
	tcp, ok := conn.(*net.TCPConn)
	return tcp, ok
}

func (in *source) borrow() {
	if in.buf == nil {
		in.buf = buffers.Get().(*[bufferSize]byte)
	}
}

// release gives the buffer back. What was read is lost.
func (in *source) release() {
	if in.buf != nil {
		buffers.Put(in.buf)
		in.buf = nil
	}
}

// read waits for bytes and reads them to buf[from:to]. The buffer stays
// borrowed until a read finds nothing, or release.
func (in *source) read(from, to int) (int, error) {
	if in.raw == nil {
		in.borrow()
		return in.conn.Read(in.buf[from:to])
	}
	in.from, in.to, in.look = from, to, false
	if err := in.raw.Read(in.try); err != nil {
		return 0, err
	}
	return in.result()
}

// ready reads what is there to buf[from:to], without waiting. It tells of bytes
// only: an end or an error is the next read's.
func (in *source) ready(from, to int) (n int) {
	if in.raw == nil {
		return 0
	}
	in.from, in.to, in.look, in.n = from, to, true, 0
	if in.raw.Read(in.try) != nil || in.err != nil {
		return 0
	}
	return in.n
}

// attempt is what the socket's poller calls: false waits until the socket is
// readable.
func (in *source) attempt(fd uintptr) bool {
	in.borrow()
	var again bool
	if in.n, again, in.err = readSocket(fd, in.buf[in.from:in.to]); again {
		in.release()
		return in.look
	}
	return true
}

func (in *source) result() (int, error) {
	switch {
	case in.err != nil:
		return 0, os.NewSyscallError("read", in.err)
	case in.n == 0:
		return 0, io.EOF
	}
	return in.n, nil
}
