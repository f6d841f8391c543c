package pool

import (
	"crypto/rand"
	"fmt"
)

// idSize is the length of an ID on the wire and as text, in bytes.
const idSize = 8

// ID names one pooled connection on both ends. It is 8 printable ASCII bytes,
// the same on the wire and as text: 48 random bits in base64url's alphabet.
// It is a name, not a secret; who may use a connection is decided by the proof
// of the key.
type ID [idSize]byte

const idAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// newID returns a random ID. Whether it is free, the pool decides under its
// lock.
func newID() ID {
	var id ID
	rand.Read(id[:]) // never fails since Go 1.24
	for i, b := range id {
		id[i] = idAlphabet[b&63]
	}
	return id
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

func (id ID) valid() bool {
	for _, b := range id {
		if b <= ' ' || b > '~' {
			return false
		}
	}
	return true
}

// String returns the text form.
func (id ID) String() string { return string(id[:]) }
