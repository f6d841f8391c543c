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
		inDocument(t, page, `(?m)^(?:TUNNEL_KEY=\S+ )?\./`+program+` (.*)$`)))
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

// shown fails the test unless a page shows the command, and returns its
// words.
func shown(t *testing.T, page, command string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
	require.NoError(t, err)
	require.Contains(t, strings.Split(string(text), "\n"), command, "%s does not show it", page)
	return strings.Fields(command)
}

// commands are the lines of a page of docs/ that run a program, without it.
func commands(t *testing.T, page, program string) (args []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + page)
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), program+" "); ok {
			args = append(args, rest)
		}
	}
	require.NotEmpty(t, args, "%s runs no %s", page, program)
	return args
}
