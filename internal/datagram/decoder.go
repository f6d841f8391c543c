package datagram

import "github.com/tunnelpool/pool/internal/wire"

// decoder finds the datagrams in the bytes of a stream, however those are cut.
// What it is fed is a peer's.
type decoder struct {
	part []byte // the beginning of one, with its header
}

// feed passes each datagram that is whole to take. The error is that of a peer
// that breaks the rules; nothing that comes after it can be understood.
func (d *decoder) feed(b []byte, take func(datagram []byte)) error {
	for len(b) > 0 {
		if len(d.part) == 0 && len(b) >= wire.DatagramHeaderSize {
			n, err := wire.ParseDatagramHeader(b)
			if err != nil {
				return err
			}
			if end := wire.DatagramHeaderSize + n; end <= len(b) {
				take(b[wire.DatagramHeaderSize:end])
				b = b[end:]
				continue
			}
		}
		missing, err := d.missing()
		if err != nil {
			return err
		}
		piece := b[:min(missing, len(b))]
		d.part = append(d.part, piece...)
		b = b[len(piece):]
		if missing, err = d.missing(); err != nil {
			return err
		}
		if missing == 0 {
			take(d.part[wire.DatagramHeaderSize:])
			d.part = nil
		}
	}
	return nil
}

// missing is how many bytes are needed to go on: those of the header, then those
// of the datagram.
func (d *decoder) missing() (int, error) {
	if len(d.part) < wire.DatagramHeaderSize {
		return wire.DatagramHeaderSize - len(d.part), nil
	}
	n, err := wire.ParseDatagramHeader(d.part)
	return wire.DatagramHeaderSize + n - len(d.part), err
}
