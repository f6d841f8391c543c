package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// documented returns the arguments that a page of docs/ gives a program in its
// first command with it, after replacements of what a reader replaces.
func documented(t *testing.T, page, program string, replacements ...string) []string {
	t.Helper()
	words := strings.Fields(strings.NewReplacer(replacements...).Replace(
		inDocument(t, page, `(?m)^(?:TUNNEL_KEY=\S+ )?(?:\./)?`+program+` (.*)$`)))
	for i := 0; i < len(replacements); i += 2 {
		require.NotContains(t, words, replacements[i], "replaced")
	}
	return words
}

// inDocument finds a group in a page of docs/.
func inDocument(t *testing.T, page, pattern string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
	require.NoError(t, err)
	found := regexp.MustCompile(pattern).FindSubmatch(text)
	require.NotNil(t, found, "%s has nothing like %s", page, pattern)
	return string(found[1])
}

// shown returns the words of a command that a page of docs/ has.
func shown(t *testing.T, page, command string) []string {
	t.Helper()
	return strings.Fields(inDocument(t, page, `(?m)^(`+regexp.QuoteMeta(command)+`)$`))
}
