package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The kinds of connections behind one port, as the proof of the key carries
// them. Untyped, so that they serve as pool.Kind without an import.
const (
	KindPool    = 1 // a pooled connection; hello: the session, SessionSize bytes
	KindControl = 2 // a control channel; hello: a Join
	KindCarrier = 3 // a carrier; hello: the session, and the carrier's number in it
	KindForward = 4 // a pooled connection for forwards; hello: the session
)

const (
	// SessionSize is the length of a session's ID in bytes, on the wire and as
	// the hello of a pooled connection.
	SessionSize = 16

	// MaxName is the most bytes that a client's name can have.
	MaxName = 64
)

// Join is the hello of a control channel: who asks for a session.
type Join struct {
	Identity   [16]byte // of the client's installation; outlives the process
	Instance   [16]byte // of this numbering of streams; new for every process
	LastStream uint32   // the highest stream number seen in this instance; 0: none
	PoolMax    uint32   // most idle connections that the client keeps, up to MaxPool; 0: as the Welcome says
	MaxStreams uint32   // most streams that the client serves at the same time; 0: no bound
	Name       string   // for people, 1 to MaxName bytes; see CheckName
}

// CheckName says whether a client can have that name: 1 to [MaxName] bytes of
// UTF-8 without control characters. The error does not quote the name.
func CheckName(name string) error {
	if name == "" {
		return errors.New("empty name")
	}
	if len(name) > MaxName {
		return fmt.Errorf("name of %d bytes, the limit is %d", len(name), MaxName)
	}
	if err := checkText([]byte(name)); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	return nil
}

// AppendJoin appends j to b, at most 109 bytes. A name that [CheckName] would
// refuse is made to fit, except that an empty one stays empty and is refused
// by the peer.
func AppendJoin(b []byte, j Join) []byte {
	b = append(b, j.Identity[:]...)
	b = append(b, j.Instance[:]...)
	b = binary.BigEndian.AppendUint32(b, j.LastStream)
	b = binary.BigEndian.AppendUint32(b, j.PoolMax)
	b = binary.BigEndian.AppendUint32(b, j.MaxStreams)
	return appendText(b, j.Name, MaxName)
}

// ParseJoin reads the hello of a control channel.
func ParseJoin(data []byte) (Join, error) {
	d := decoder{what: "Join", rest: data}
	var j Join
	copy(j.Identity[:], d.take(len(j.Identity)))
	copy(j.Instance[:], d.take(len(j.Instance)))
	j.LastStream = d.uint32()
	if j.PoolMax = d.uint32(); j.PoolMax > MaxPool {
		d.fail("a pool of %d, allowed are %d", j.PoolMax, MaxPool)
	}
	j.MaxStreams = d.uint32()
	j.Name = d.text("name")
	if d.err == nil {
		if err := CheckName(j.Name); err != nil {
			d.fail("%v", err)
		}
	}
	if err := d.end(); err != nil {
		return Join{}, err
	}
	return j, nil
}

// ParseSession reads the hello of a pooled connection: the ID of the session
// that it belongs to.
func ParseSession(data []byte) (session [SessionSize]byte, err error) {
	if len(data) != SessionSize {
		return session, malformed("session", "%d bytes where %d are expected", len(data), SessionSize)
	}
	copy(session[:], data)
	return session, nil
}

// Carrier is the hello of a carrier.
type Carrier struct {
	Session [SessionSize]byte
	Number  uint16 // the client's, not given twice in a session
}

// AppendCarrier appends c to b.
func AppendCarrier(b []byte, c Carrier) []byte {
	return binary.BigEndian.AppendUint16(append(b, c.Session[:]...), c.Number)
}

// ParseCarrier reads the hello of a carrier.
func ParseCarrier(data []byte) (Carrier, error) {
	d := decoder{what: "carrier", rest: data}
	var c Carrier
	copy(c.Session[:], d.take(len(c.Session)))
	c.Number = d.uint16()
	if err := d.end(); err != nil {
		return Carrier{}, err
	}
	return c, nil
}
