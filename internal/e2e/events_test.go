package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// always are what each line of the JSON form has.
var always = []string{"time", "level", "event", "msg"}

// eventsInDocument reads the tables of docs/LOGS.md: each event, and each key.
func eventsInDocument(t *testing.T) (events map[string]happening, keys map[string]bool) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "LOGS.md"))
	require.NoError(t, err)
	events, keys = make(map[string]happening), make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([a-z, ]+) \\|([a-z_`, ]*)\\| [^|]+ \\|$").FindAllSubmatch(text, -1) {
		e := happening{make(map[string]bool), make(map[string]bool)}
		for level := range strings.SplitSeq(string(row[2]), ", ") {
			e.levels[level] = true
		}
		for _, key := range regexp.MustCompile("[a-z_]+").FindAllString(string(row[3]), -1) {
			e.keys[key] = true
		}
		name := string(row[1])
		require.NotContains(t, events, name, "stands there twice")
		events[name] = e
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| [^|]+ \\|$").FindAllSubmatch(text, -1) {
		require.False(t, keys[string(row[1])], "%s stands there twice", row[1])
		keys[string(row[1])] = true
	}
	return events, keys
}

// TestEventsAreDocumented: docs/LOGS.md has every event of the code with its
// levels and keys, and nothing else.
func TestEventsAreDocumented(t *testing.T) {
	code := eventsInSource(t)
	documented, keys := eventsInDocument(t)
	require.Greater(t, len(code), 40, "too few events seen for the test to mean anything")
	used := make(map[string]bool)
	require.Equal(t, slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(code)), "names in the document, and in the code")
	for name, e := range code {
		require.Regexp(t, `^[a-z]+(_[a-z]+)*$`, name)
		require.Equal(t, sorted(e.levels), sorted(documented[name].levels), name)
		require.Equal(t, sorted(e.keys), sorted(documented[name].keys), name)
		for key := range e.keys {
			require.NotContains(t, always, key, name)
			used[key] = true
		}
	}
	require.Equal(t, sorted(used), sorted(keys), "keys that are explained")
}
