package poolmetrics

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

var reasonValue = regexp.MustCompile(`\bCloseReason = "([a-z_]+)"`)

// TestCloseReasons: no reason that the pool has is missing from the metrics and
// from what the document says of them.
func TestCloseReasons(t *testing.T) {
	source, err := os.ReadFile(filepath.Join("..", "..", "stats.go"))
	require.NoError(t, err)
	document, err := os.ReadFile(filepath.Join("..", "..", "docs", "MONITORING.md"))
	require.NoError(t, err)
	row := regexp.MustCompile("(?m)^.*`tunnelpool_pool_closed_connections_total`.*$").Find(document)
	var all []pool.CloseReason
	for _, m := range reasonValue.FindAllSubmatch(source, -1) {
		all = append(all, pool.CloseReason(m[1]))
		require.Contains(t, string(row), "`"+string(m[1])+"`")
	}
	require.Greater(t, len(all), 10, "too few seen for the test to mean anything")
	require.ElementsMatch(t, all, closeReasons)
}
