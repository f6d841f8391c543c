//go:build !unix

package datagram

import "github.com/tunnelpool/pool/internal/wire"

// receiveSome waits for a datagram and passes it on.
func (t target) receiveSome(take func([]byte)) error {
	buf := buffers.Get().(*[wire.MaxDatagram]byte)
	defer buffers.Put(buf)
	n, err := t.Read(buf[:])
	if err != nil {
		return err
	}
	take(buf[:n])
	return nil
}
