package pool

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

const (
	minKeyBytes = 16
	maxKeyBytes = 64
	newKeyBytes = 32
)

// KeyID names a key without giving it away: the first 8 bytes of
// HMAC-SHA256(key, "id"). It travels in the clear in plain mode.
type KeyID [8]byte

// String returns the ID in hexadecimal.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// Key is a shared secret that both sides of a connection prove to hold. The
// zero value is no key. Whatever prints or encodes a Key shows its ID, never
// the secret; only [Key.Text] gives that out. Keys are immutable, may be
// copied, and are safe for concurrent use. They do not compare with ==;
// compare their IDs.
type Key struct {
	_ [0]func() // == would compare pointers, which is never what is meant

	// A pointer to a pointer, because fmt prints a Key that sits in an
	// unexported field without asking Format, and follows one pointer when it
	// does not like the verb.
	hidden **keyMaterial
}

// keyMaterial is never changed once a Key holds it.
type keyMaterial struct {
	id   KeyID
	mac  []byte // what proofs are keyed with
	text string // empty in a session's key
}

// NewKey returns a key of 32 random bytes.
func NewKey() Key {
	raw := make([]byte, newKeyBytes)
	rand.Read(raw) // never fails since Go 1.24
	return keyOf(raw)
}

func keyOf(raw []byte) Key {
	return hide(&keyMaterial{
		id:   KeyID(hmacSHA256(raw, []byte("id"))[:8]),
		mac:  raw,
		text: base64.RawURLEncoding.EncodeToString(raw),
	})
}

func hide(m *keyMaterial) Key { return Key{hidden: &m} }

// material is the other way round; the zero Key has none.
func (k Key) material() *keyMaterial { return *k.hidden }

// ParseKey reads a key's text: 16 to 64 bytes in unpadded base64url. All else
// is [ErrBadKey], with what is wrong but without the text, which may be nearly
// the secret.
func ParseKey(text string) (Key, error) {
	raw, problem := decodeKey(text)
	if problem != "" {
		return Key{}, fmt.Errorf("%w: %s; `tunnel-server key show` prints a good one", ErrBadKey, problem)
	}
	return keyOf(raw), nil
}

func decodeKey(text string) (raw []byte, problem string) {
	switch {
	case text == "":
		return nil, "it is empty"
	case len(text) > base64.RawURLEncoding.EncodedLen(maxKeyBytes):
		return nil, fmt.Sprintf("it is longer than %d bytes", maxKeyBytes)
	case strings.ContainsAny(text, " \t\r\n"):
		return nil, "it contains white space"
	case strings.Contains(text, "="):
		return nil, "it is padded with '='"
	case strings.ContainsAny(text, "+/"):
		return nil, "it is in base64's standard alphabet, not base64url"
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	switch {
	case err != nil:
		return nil, "it is not base64url"
	case len(raw) < minKeyBytes:
		return nil, fmt.Sprintf("it is %d bytes long and at least %d are needed", len(raw), minKeyBytes)
	}
	return raw, ""
}

// ID returns the key's name; that of the zero Key is all zeros.
func (k Key) ID() KeyID {
	if k.IsZero() {
		return KeyID{}
	}
	return k.material().id
}

// IsZero reports whether k is no key.
func (k Key) IsZero() bool { return k.hidden == nil }

// Text returns the secret, in the form that [ParseKey] reads. It is empty for
// the zero Key and for a key made by [Key.Session], which nobody has to type.
func (k Key) Text() string {
	if k.IsZero() {
		return ""
	}
	return k.material().text
}

// Session returns a key under k's ID whose proofs also need secret: holders of
// k who were not told the secret cannot enter. Of the zero Key it is the zero
// Key.
func (k Key) Session(secret []byte) Key {
	if k.IsZero() {
		return Key{}
	}
	m := k.material()
	return hide(&keyMaterial{id: m.id, mac: hmacSHA256(m.mac, []byte("session"), secret)})
}

// String returns "key:" and the ID, or "key:none".
func (k Key) String() string {
	if k.IsZero() {
		return "key:none"
	}
	return "key:" + k.material().id.String()
}

// Format writes the same as [Key.String] for every verb.
func (k Key) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// MarshalText encodes the same as [Key.String], for JSON and its like. It
// cannot be read back.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// LogValue logs the same as [Key.String].
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

func hmacSHA256(key []byte, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range parts {
		mac.Write(part)
	}
	return mac.Sum(nil)
}

// KeyFunc finds the key that a peer has to prove, from what it says of itself
// before the proof: nothing in the [Hello] is trustworthy yet. The answer false,
// or the zero [Key], fails the proof as a wrong key does. It is called from many
// goroutines at once and must not block.
type KeyFunc func(Hello) (Key, bool)

// KnownKeys returns a KeyFunc for a fixed set of keys; zero Keys among them are
// left out.
func KnownKeys(keys ...Key) KeyFunc {
	known := make(map[KeyID]Key, len(keys))
	for _, k := range keys {
		if !k.IsZero() {
			known[k.ID()] = k
		}
	}
	return func(hello Hello) (Key, bool) {
		k, ok := known[hello.KeyID]
		return k, ok
	}
}
