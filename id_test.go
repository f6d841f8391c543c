package pool

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNewID(t *testing.T) {
	require.Len(t, idAlphabet, 64)
	seen := map[ID]bool{}
	used := map[byte]bool{}
	for range 10_000 {
		id := newID()
		require.False(t, seen[id])
		seen[id] = true
		parsed, err := ParseID(id.String())
		require.NoError(t, err)
		require.Equal(t, id, parsed)
		for _, b := range id {
			require.True(t, strings.IndexByte(idAlphabet, b) >= 0)
			used[b] = true
		}
	}
	require.Len(t, used, len(idAlphabet))
}

// TestFormsOfIDs: no ID means the same at ends that differ in ShortIDs. A long
// one is no short one's text, and a short one begins no long one.
func TestFormsOfIDs(t *testing.T) {
	for range 1 << 19 { // one in 65,536 random ones is
		id := longIDs.choose()
		require.False(t, id.short(), id)
	}
	seen := map[ID]bool{}
	for range 10_000 { // one in 55 random ones does
		id := shortIDs.choose()
		require.True(t, id.short(), id)
		require.False(t, seen[id])
		seen[id] = true
		raw := shortIDs.wire(id)
		require.Len(t, raw, 4)
		require.False(t, printable(raw), "%q", raw)
		read, err := shortIDs.read(bytes.NewReader(raw))
		require.NoError(t, err)
		require.Equal(t, id, read)
		_, err = longIDs.read(io.MultiReader(bytes.NewReader(raw), bytes.NewReader([]byte("user"))))
		require.ErrorIs(t, err, ErrBadID)
	}
	require.Equal(t, []byte{0, 0xff, 0x1a, 0x2b}, shortIDs.wire(ID([]byte("00ff1a2b"))))
	require.Equal(t, []byte("00ff1a2b"), longIDs.wire(ID([]byte("00ff1a2b"))))
	for text, short := range map[string]bool{"00000000": true, "9abcdef0": true, "9ABCDEF0": false, "9abcdefg": false, "/abcdef0": false, "0000000:": false, "0000`000": false} {
		require.Equal(t, short, ID([]byte(text)).short(), text)
	}
}

func FuzzParseID(f *testing.F) {
	for _, text := range []string{
		"", "AAAAAAAA", "!!!!!!!!", "~~~~~~~~", "AAAA AAA", "AAAAAAA", "AAAAAAAAA",
		"AAAAAAA\x00", "AAAAAAA\x7f", "AAAAAAA\x80", "\xff\xff\xff\xff\xff\xff\xff\xff", "ÄÄÄÄ", "\n1234567",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseID(text)
		printable := len(text) == idSize && strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
		require.Equal(t, printable, err == nil)
		if err != nil {
			require.ErrorIs(t, err, ErrBadID)
			require.Zero(t, id)
			return
		}
		require.Equal(t, text, id.String())
		require.Len(t, id, len(text))
	})
}
