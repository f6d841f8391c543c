package pool

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
)

// idSize is the length of an ID as text, and on the wire but for ShortIDs, in
// bytes.
const idSize = 8

// ID names one pooled connection on both ends. It is 8 printable ASCII bytes,
// the same on the wire and as text: 48 random bits in base64url's alphabet. With
// ShortIDs it is the text of the 4 bytes on the wire, 8 lower-case hexadecimal
// characters. It is a name, not a secret; who may use a connection is decided by
// the proof of the key.
type ID [idSize]byte

const idAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// newID returns a random ID that is not the text of a short one, so that ends
// that differ in ShortIDs never mean the same. Whether it is free, the pool
// decides under its lock.
func newID() ID {
	for {
		var id ID
		rand.Read(id[:]) // never fails since Go 1.24
		for i, b := range id {
			id[i] = idAlphabet[b&63]
		}
		if !id.short() {
			return id
		}
	}
}

// ParseID reads the text form. Any 8 printable ASCII bytes without spaces are
// an ID; all else is [ErrBadID].
func ParseID(text string) (ID, error) {
	var id ID
	if len(text) != idSize {
		return ID{}, fmt.Errorf("%w: %d bytes where %d are expected", ErrBadID, len(text), idSize)
	}
	copy(id[:], text)
	if !id.valid() {
		return ID{}, fmt.Errorf("%w: it holds bytes that are not printable ASCII", ErrBadID)
	}
	return id, nil
}

func (id ID) valid() bool { return printable(id[:]) }

// short reports whether the ID is the text of one of 4 bytes.
func (id ID) short() bool {
	for _, b := range id {
		if (b < '0' || b > '9') && (b < 'a' || b > 'f') {
			return false
		}
	}
	return true
}

// String returns the text form.
func (id ID) String() string { return string(id[:]) }

func printable(bytes []byte) bool {
	for _, b := range bytes {
		if b <= ' ' || b > '~' {
			return false
		}
	}
	return true
}

// shortSize is the length on the wire of an ID with ShortIDs.
const shortSize = idSize / 2

// idForm is how a pool's IDs go over the wire.
type idForm uint8

const (
	longIDs  idForm = iota // 8 bytes, which are the text too
	shortIDs               // 4 bytes
)

func formOfIDs(short bool) idForm {
	if short {
		return shortIDs
	}
	return longIDs
}

// choose returns a random ID of this form. A short one has a byte on the wire
// that a long one never has, which tells a client that expects long ones.
func (f idForm) choose() ID {
	if f == longIDs {
		return newID()
	}
	for {
		var raw [shortSize]byte
		rand.Read(raw[:])
		if !printable(raw[:]) {
			return textOf(raw)
		}
	}
}

func textOf(raw [shortSize]byte) (id ID) {
	hex.Encode(id[:], raw[:])
	return id
}

// wire returns what the server sends for an ID of this form.
func (f idForm) wire(id ID) []byte {
	if f == longIDs {
		return id[:]
	}
	raw := make([]byte, shortSize)
	hex.Decode(raw, id[:]) // choose made it
	return raw
}

// read reads an ID of this form from its server. It waits for no more than the
// bytes that tell that there is none: then [ErrBadID].
func (f idForm) read(r io.Reader) (ID, error) {
	if f == shortIDs {
		var raw [shortSize]byte
		_, err := io.ReadFull(r, raw[:])
		return textOf(raw), err
	}
	var id ID
	n, err := io.ReadAtLeast(r, id[:], shortSize)
	if err == nil && printable(id[:n]) {
		_, err = io.ReadFull(r, id[n:])
		n = idSize
	}
	if err == nil && !printable(id[:n]) {
		err = fmt.Errorf("%w: the server sent %q; if its IDs have 4 bytes, set ShortIDs here too", ErrBadID, id[:n])
	}
	return id, err
}

// misnamed says why a connection of this pool cannot have that ID, or nil. The
// two ends differ then, so that waiting for it would not help.
func (p *Pool) misnamed(id ID) error {
	switch {
	case p.ids == shortIDs && !id.short():
		return errNotShort
	case p.ids == longIDs && p.server != nil && id.short():
		return errNotLong
	}
	return nil
}

var (
	errNotShort = fmt.Errorf("%w: ShortIDs is set here, and the ID is not 8 lower-case hexadecimal characters; set it at the other end too", ErrBadID)
	errNotLong  = fmt.Errorf("%w: it is one of a client with ShortIDs; set ServerConfig.ShortIDs too", ErrBadID)
)
