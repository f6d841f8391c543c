package spelling

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNearest(t *testing.T) {
	known := []string{"allow-ports", "allow-from", "pool-min", "pool-max", "tls"}
	for word, want := range map[string]string{
		"alow-ports": "allow-ports", "allow-port": "allow-ports", "allow-prots": "allow-ports", "ALLOW_PORTS": "allow-ports",
		"pool-mim": "pool-min", "pool-mxa": "pool-max", "tsl": "tls", "allow-form": "allow-from",
		"allow": "", "": "", "password": "", strings.Repeat("p", 1<<20): "",
	} {
		require.Equal(t, want, Nearest(word, known, 2), word)
	}
	require.Equal(t, "pool-max", Nearest("pool-max", known, 2), "and not the first that is near enough")
	require.Empty(t, Nearest("pool-mi", known[3:], 1))
	require.Equal(t, "POOL_MIN", Nearest("pool-mni", []string{"POOL_MIN"}, 1), "two letters swapped are one slip")
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abcd", "badc", 2}, {"kitten", "sitting", 3}, {"ab", "ba", 1}, {"min", "max", 2}} {
		require.Equal(t, c.want, distance(c.a, c.b), "%v", c)
		require.Equal(t, c.want, distance(c.b, c.a), "%v", c)
	}
}
