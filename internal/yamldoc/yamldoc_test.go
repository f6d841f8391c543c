package yamldoc

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	for _, text := range []string{"", "\n", "# a comment\n", "---\n", "null", "~", "\ufeff# Windows\r\n"} {
		top, err := Parse([]byte(text), "want names")
		require.NoError(t, err, text)
		require.Nil(t, top, text)
	}
	top, err := Parse([]byte("\ufeffa: 1\r\nb:\n  # of b\n\t# and with a tab\n  - 8080:3000\n"), "want names")
	require.NoError(t, err)
	require.Len(t, top.Content, 4)
	require.Equal(t, "8080:3000", top.Content[3].Content[0].Value, "as it is written")
}

func TestWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"a":                          "line 1: want names",
		"# x\n- a":                   "line 2: want names",
		"a: 1\n---\nb: 2\n":          "line 2: the file should end here, and there is one more document",
		"a: 1\n---\n":                "line 2: the file should end here",
		"a:\n\tb: 1":                 "line 2: a tab in front of the text; YAML wants spaces there",
		"a: 1\nb: \x00":              "line 2: a control character, or a byte that is no UTF-8",
		"a: 1\nb: \xff\n":            "line 2: a control character, or a byte that is no UTF-8",
		"a: '1\nb: 2":                "near line 2: found unexpected end of stream",
		"a: 1\n b: 2":                "near line 2: mapping values are not allowed in this context",
		"a: *:22":                    "near line 1: did not find expected alphabetic or numeric character; a value that begins with [ or * needs quotes",
		"a: 1\nb: [::1]:80":          "a value that begins with [ or * needs quotes",
		"a:\n- *:22":                 "a value that begins with [ or * needs quotes",
		"a: *x":                      "near line 1: unknown anchor 'x' referenced",
		strings.Repeat("[", 1<<20):   "near line 1: exceeded max depth of",
		strings.Repeat("- ", 50_000): "near line 1: exceeded max depth of",
	} {
		_, err := Parse([]byte(text), "want names")
		require.ErrorContains(t, err, want, "%.40s", text)
		require.NotContains(t, err.Error(), "\n")
		var at *Error
		require.ErrorAs(t, err, &at)
		require.Positive(t, at.Line)
		require.NotNil(t, errors.Unwrap(err))
	}
}
