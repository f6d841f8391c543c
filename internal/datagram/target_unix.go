//go:build unix

package datagram

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/tunnelpool/pool/internal/wire"
)

// atOnce bounds the datagrams that are received before it is looked whether the
// flow has ended.
const atOnce = 64

// receiveSome waits for datagrams and passes on those that are there.
func (t target) receiveSome(take func([]byte)) error {
	raw, err := t.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	err = raw.Read(func(fd uintptr) bool {
		buf := buffers.Get().(*[wire.MaxDatagram]byte)
		defer buffers.Put(buf)
		for got := 0; got < atOnce; got++ {
			n, err := unix.Read(int(fd), buf[:])
			switch err {
			case nil:
				take(buf[:n])
			case unix.EINTR:
			case unix.EAGAIN:
				return got > 0
			default:
				failure = os.NewSyscallError("read", err)
				return true
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	return failure
}
