package status

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// names are those of the fields of a type in JSON, and of what it holds.
func names(t reflect.Type, into map[string]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		names(t.Elem(), into)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag != "" {
				into[tag] = true
				names(f.Type, into)
			}
		}
	}
}

// TestDocumentedFields: docs/MONITORING.md names every field of the JSON, and no
// other.
func TestDocumentedFields(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "MONITORING.md"))
	require.NoError(t, err)
	for heading, of := range map[string]any{"## The status as JSON": Report{}, "## The history as JSON": History{}} {
		_, section, ok := strings.Cut(string(text), heading)
		require.True(t, ok, heading)
		section, _, _ = strings.Cut(section, "\n## ")
		documented := make(map[string]bool)
		for _, m := range regexp.MustCompile("`([a-z][a-z0-9_]*)`").FindAllStringSubmatch(section, -1) {
			documented[m[1]] = true
		}
		there := make(map[string]bool)
		names(reflect.TypeOf(of), there)
		require.Greater(t, len(there), 8, heading)
		require.Equal(t, slices.Sorted(maps.Keys(there)), slices.Sorted(maps.Keys(documented)), heading)
	}
}
