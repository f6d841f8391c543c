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

	buf  []byte  // nil: none is borrowed
	loan *buffer // whose buf is
	bulk bool    // the last read would have filled a small buffer
	from int     // the part of buf that is read into
	most int
	look bool // come back at once when there is nothing
	n    int  // what attempt has read
	err  error
	try  func(fd uintptr) bool // attempt, bound once
}

// newSource reads conn, whose socket is used directly if there is nothing between.
func newSource(conn net.Conn) *source {
	in := &source{conn: conn}
	if canPark {
		if socket, ok := plainSocket(conn); ok {
			in.raw, _ = socket.SyscallConn()
		}
	}
	in.try = in.attempt
	return in
}

// plainSocket finds the socket, of TCP or a Unix one, whose bytes are those of
// conn, which may be a pool's handle of it. Under TLS there is none, nor under a
// layer that a user of the library put there.
func plainSocket(conn net.Conn) (syscall.Conn, bool) {
	if _, ok := conn.(*tls.Conn); ok {
		return nil, false
	}
	if l, ok := conn.(layered); ok {
		conn = l.NetConn()
	}
	switch socket := conn.(type) {
	case *net.TCPConn:
		return socket, true
	case *net.UnixConn:
		return socket, true
	}
	return nil, false
}

// borrow takes a buffer, unless there is one of the right size. What is in
// another one is lost.
func (in *source) borrow(large bool) {
	if in.loan != nil && in.loan.large() != large {
		in.release()
	}
	if in.loan == nil {
		in.loan = borrowBuffer(large)
		in.buf = in.loan.bytes
	}
}

// release gives the buffer back. What was read is lost.
func (in *source) release() {
	if in.loan != nil {
		in.loan.giveBack()
		in.loan, in.buf = nil, nil
	}
}

// read waits for bytes and reads at most most of them to buf[from:]. What was in
// the buffer is lost. It stays borrowed until a read finds nothing, or release.
func (in *source) read(from, most int) (n int, err error) {
	if in.raw == nil {
		in.borrow(in.wantsLarge(most))
		n, err = in.conn.Read(in.part(from, most))
	} else {
		in.from, in.most, in.look = from, most, false
		if err := in.raw.Read(in.try); err != nil {
			return 0, err
		}
		n, err = in.result()
	}
	in.bulk = from+n >= smallBuffer
	return n, err
}

// wantsLarge: less than a quarter of a large buffer is not worth one.
func (in *source) wantsLarge(most int) bool { return in.bulk && most >= largeBuffer/4 }

// ready reads what is there to buf[from:], at most most, without waiting. It
// tells of bytes only: an end or an error is the next read's.
func (in *source) ready(from, most int) (n int) {
	if in.raw == nil {
		return 0
	}
	in.from, in.most, in.look, in.n = from, most, true, 0
	if in.raw.Read(in.try) != nil || in.err != nil {
		return 0
	}
	return in.n
}

// part is what may be read into.
func (in *source) part(from, most int) []byte {
	return in.buf[from:min(len(in.buf), from+most)]
}

// attempt is what the socket's poller calls: false waits until the socket is
// readable.
func (in *source) attempt(fd uintptr) bool {
	in.borrow(in.wantsLarge(in.most))
	var again bool
	if in.n, again, in.err = readSocket(fd, in.part(in.from, in.most)); again {
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
