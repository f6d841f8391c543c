package tunnel

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCheckPageWords holds what docs/CHECK.md quotes of failures to what the
// programs say.
func TestCheckPageWords(t *testing.T) {
	page, err := os.ReadFile("../docs/CHECK.md")
	require.NoError(t, err)
	var sources strings.Builder
	sources.WriteString("cannot assign requested address, address already in use") // the system's words
	for _, pattern := range []string{"*.go", "../*.go", "../internal/checkup/*.go", "../cmd/tunnel-server/*.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				text, err := os.ReadFile(file)
				require.NoError(t, err)
				sources.Write(text)
			}
		}
	}
	rows := regexp.MustCompile("(?m)^\\| [^|]+ \\| (`[^|]+`) \\| `([^|]+)` \\| [^|]+ \\|$").FindAllStringSubmatch(string(page), -1)
	require.Len(t, rows, 37)
	for _, row := range rows {
		said := strings.NewReplacer(`"…"`, "%q", "…", "%s").Replace(row[2])
		require.Contains(t, sources.String(), said, row[0])
		for step := range strings.SplitSeq(row[1], ",") {
			name := strings.ReplaceAll(strings.ToLower(strings.Trim(step, " `")), " ", "_")
			require.Regexp(t, `(?m)^(\s|const )[sS]tep\w+ += "`+name+`"`, sources.String(), row[0])
		}
	}
}
