package proxyheader

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

const (
	minV1 = len("PROXY UNKNOWN\r\n") // no valid header is shorter
	maxV1 = 107

	beginV2 = 16 // bytes in front of those whose number they tell
	maxV2   = beginV2 + 4096
)

// ErrMalformed: what was read is no header that can be understood.
var ErrMalformed = errors.New("malformed PROXY header")

// Read reads a header of either version, and not a byte more, so that whatever
// reads on finds what the user said. It returns whom the header speaks for, which
// is invalid if it speaks for the proxy itself or does not know. The error is
// io.EOF only if there was nothing to read. r must give up by itself.
func Read(r io.Reader) (user netip.AddrPort, err error) {
	b := make([]byte, minV1, maxV1)
	if _, err := io.ReadFull(r, b); err != nil {
		return netip.AddrPort{}, err
	}
	switch {
	case bytes.HasPrefix(b, proxyproto.SIGV1):
		b, err = readLine(r, b)
	case bytes.HasPrefix(b, proxyproto.SIGV2):
		b, err = readBlock(r, b)
	default:
		err = fmt.Errorf("%w: it does not begin as one", ErrMalformed)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return netip.AddrPort{}, err
	}
	header, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b), len(b)))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !header.Command.IsProxy() {
		return netip.AddrPort{}, nil
	}
	from, ok := header.SourceAddr.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("%w: it is not for TCP", ErrMalformed)
	}
	at := from.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), nil
}

// readLine reads on to the end of a header of version 1, whose length shows only
// there. It is short, and read once for each user.
func readLine(r io.Reader, b []byte) ([]byte, error) {
	for !bytes.HasSuffix(b, []byte("\n")) {
		if len(b) == maxV1 {
			return nil, fmt.Errorf("%w: its line does not end", ErrMalformed)
		}
		b = b[:len(b)+1]
		if _, err := io.ReadFull(r, b[len(b)-1:]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// readBlock reads on to the end of a header of version 2.
func readBlock(r io.Reader, b []byte) ([]byte, error) {
	begun := len(b)
	b = b[:beginV2]
	if _, err := io.ReadFull(r, b[begun:]); err != nil {
		return nil, err
	}
	size := beginV2 + int(binary.BigEndian.Uint16(b[beginV2-2:]))
	if size > maxV2 {
		return nil, fmt.Errorf("%w: it has %d bytes, the limit is %d", ErrMalformed, size, maxV2)
	}
	whole := make([]byte, size)
	copy(whole, b)
	_, err := io.ReadFull(r, whole[beginV2:])
	return whole, err
}
