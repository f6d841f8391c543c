package pool

import (
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
