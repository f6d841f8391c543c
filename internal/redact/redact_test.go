package redact

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

func TestKeys(t *testing.T) {
	key := pool.NewKey().Text()
	for what, text := range map[string]string{
		"alone":               key,
		"quoted":              fmt.Sprintf("unknown argument %q", key),
		"after =":             "-k=" + key,
		"a shorthand's value": "-k" + key,
		"in a path":           fmt.Sprintf("stat /tmp/%s: no such file", key),
		"two of them":         key + " " + key,
	} {
		hidden := Keys(text)
		require.NotContains(t, hidden, key[:12], what)
		require.Contains(t, hidden, Hidden, what)
	}

	short := key[:22] // of 16 bytes, or nearly: only known as a key from the environment
	t.Setenv("TUNNEL_KEY", short)
	require.Equal(t, "x"+Hidden+"x", Keys("x"+short+"x"))
	t.Setenv("TUNNEL_KEY", "a")
	require.Equal(t, "a bad flag", Keys("a bad flag"), "too short to be a key")

	for _, plain := range []string{
		"/tmp/" + strings.Repeat("a", 43) + "/x", // not a key's last character
		strings.Repeat("0123456789abcdef", 4), "my-very-long-host-name-that-is-no-key.example.com",
	} {
		require.Equal(t, plain, Keys(plain))
	}
}
