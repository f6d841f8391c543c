package wire

import "encoding/binary"

// Datagrams in the stream of a UDP service: a length of 2 bytes and so many bytes.
const (
	DatagramHeaderSize = 2
	MaxDatagram        = 65507 // what UDP over IPv4 carries
)

// AppendDatagram appends a datagram of at most MaxDatagram bytes to a stream.
func AppendDatagram(b, datagram []byte) []byte {
	if len(datagram) > MaxDatagram {
		panic("wire: datagram too long")
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(datagram)))
	return append(b, datagram...)
}

// ParseDatagramHeader returns the length of the datagram that begins at b, of
// which there are DatagramHeaderSize bytes at least.
func ParseDatagramHeader(b []byte) (int, error) {
	n := int(binary.BigEndian.Uint16(b))
	if n > MaxDatagram {
		return 0, malformed("datagram", "%d bytes", n)
	}
	return n, nil
}
