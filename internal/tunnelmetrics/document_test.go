package tunnelmetrics

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
)

// documented is a row of docs/MONITORING.md.
type documented struct {
	kind   string
	labels []string
	of     string
}

var row = regexp.MustCompile("(?m)^\\| `(tunnelpool_[a-z_]+)` \\| ([a-z]+) \\| ([^|]*) \\| ([a-z]+) \\| [^|]+ \\|$")

func document(t *testing.T) map[string]documented {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "MONITORING.md"))
	require.NoError(t, err)
	all := make(map[string]documented)
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		var labels []string
		for _, l := range strings.Split(m[3], ",") {
			if l = strings.Trim(l, " `"); l != "" {
				labels = append(labels, l)
			}
		}
		require.NotContains(t, all, m[1], "twice in the document")
		all[m[1]] = documented{m[2], labels, m[4]}
	}
	return all
}

// TestDocument: the document has every metric of a real tunnel and of pools with
// its type, its labels and whose it is, and no other.
func TestDocument(t *testing.T) {
	server, client, library := everything(t)
	rows := document(t)
	require.Greater(t, len(rows), 35, "too few rows seen for the test to mean anything")
	has := map[string][]map[string]*dto.MetricFamily{
		"server": {server}, "client": {client}, "both": {server, client}, "all": {server, client, library},
	}
	for name, d := range rows {
		require.Contains(t, has, d.of, name)
		found := 0
		for _, where := range []map[string]*dto.MetricFamily{server, client, library} {
			f := where[name]
			if f == nil {
				continue
			}
			found++
			require.Equal(t, d.kind, strings.ToLower(f.GetType().String()), name)
			require.NotEmpty(t, f.GetHelp(), name)
			labels := labelsOf(f)
			if labels["pool"] { // the library's, and the test's own label
				delete(labels, "pool")
				labels["client"], labels["use"] = true, true
			}
			require.Equal(t, slices.Sorted(slices.Values(d.labels)), slices.Sorted(maps.Keys(labels)), name)
		}
		for _, where := range has[d.of] {
			require.Contains(t, where, name, "the document says that %s has it", d.of)
		}
		require.Len(t, has[d.of], found, "%s is of %s", name, d.of)
	}
	for _, where := range []map[string]*dto.MetricFamily{server, client, library} {
		for name := range where {
			require.Contains(t, rows, name, "not in the document")
		}
	}
	for name, d := range rows { // Prometheus's conventions
		require.Equal(t, d.kind == "counter", strings.HasSuffix(name, "_total"), name)
	}
}

var (
	metricName  = regexp.MustCompile(`\b(tunnelpool|process|go)_[a-z_]+\b`)
	selector    = regexp.MustCompile(`\b((?:tunnelpool|process|go)_[a-z_]+)\{([^}]*)\}`)
	matcher     = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	grouping    = regexp.MustCompile(`\b(?:by|on)\s*\(([^)]*)\)`)
	placeholder = regexp.MustCompile(`\{\{\s*(?:\$labels\.)?([a-z_]+)\s*\}\}`)
)

// scraped are labels that Prometheus adds.
var scraped = []string{"instance", "job", "le"}

// requireReal holds a query, and the text that is shown of its result, to the
// metrics and labels that there are.
func requireReal(t *testing.T, rows map[string]documented, query, shown string) {
	t.Helper()
	possible := slices.Clone(scraped)
	for _, name := range metricName.FindAllString(query, -1) {
		if !strings.HasPrefix(name, "tunnelpool_") {
			continue // the Go client's own
		}
		d, ok := rows[name]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, cut := strings.CutSuffix(name, suffix); cut && !ok {
				d, ok = rows[base]
				require.Equal(t, "histogram", d.kind, query)
			}
		}
		require.True(t, ok, "%s is no metric, in %s", name, query)
		possible = append(possible, d.labels...)
		for _, s := range selector.FindAllStringSubmatch(query, -1) {
			if s[1] != name {
				continue
			}
			for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
				require.Contains(t, append(slices.Clone(scraped), d.labels...), m[1], "%s has no such label, in %s", name, query)
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(query, -1) {
		for _, l := range strings.Split(g[1], ",") {
			require.Contains(t, possible, strings.TrimSpace(l), query)
		}
	}
	for _, p := range placeholder.FindAllStringSubmatch(shown, -1) {
		require.Contains(t, possible, p[1], "%s of %s", shown, query)
		if g := grouping.FindStringSubmatch(query); g != nil && strings.Contains(query, " by ") {
			require.Contains(t, g[1], p[1], "%s is gone after %s", p[1], query)
		}
	}
}
