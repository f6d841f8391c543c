package tunnelmetrics

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

func deployed(t *testing.T, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{"..", "..", "deploy"}, path...)...))
	require.NoError(t, err)
	return data
}

// TestAlerts: the rules use metrics and labels that there are, and say what to do.
func TestAlerts(t *testing.T) {
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	require.NoError(t, yaml.Unmarshal(deployed(t, "prometheus", "alerts.yml"), &file))
	require.Len(t, file.Groups, 1)
	rows, names := document(t), make(map[string]bool)
	require.Greater(t, len(file.Groups[0].Rules), 8)
	for _, r := range file.Groups[0].Rules {
		require.False(t, names[r.Alert], r.Alert)
		names[r.Alert] = true
		_, err := time.ParseDuration(r.For)
		require.NoError(t, err, r.Alert)
		require.Contains(t, []string{"critical", "warning", "info"}, r.Labels["severity"], r.Alert)
		require.NotEmpty(t, r.Annotations["summary"], r.Alert)
		require.NotEmpty(t, r.Annotations["description"], r.Alert)
		requireReal(t, rows, r.Expr, r.Annotations["summary"]+r.Annotations["description"])
	}
}

// TestAlertsWithPromtool has Prometheus's own tool read them.
func TestAlertsWithPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("there is no promtool here")
	}
	out, err := exec.CommandContext(t.Context(), promtool, "check", "rules", filepath.Join("..", "..", "deploy", "prometheus", "alerts.yml")).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestDashboard: its queries use metrics and labels that there are, and its panels
// do not lie on each other.
func TestDashboard(t *testing.T) {
	var d struct {
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr, LegendFormat string }
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	require.NoError(t, json.Unmarshal(deployed(t, "grafana", "tunnelpool.json"), &d))
	rows := document(t)
	used := make(map[string]bool)
	taken := make(map[[2]int]string)
	require.Greater(t, len(d.Panels), 15)
	for _, p := range d.Panels {
		require.NotEmpty(t, p.Targets, p.Title)
		for _, q := range p.Targets {
			requireReal(t, rows, q.Expr, q.LegendFormat)
			for _, name := range metricName.FindAllString(q.Expr, -1) {
				used[name] = true
			}
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				require.Empty(t, taken[[2]int{x, y}], "%s lies there too", p.Title)
				taken[[2]int{x, y}] = p.Title
			}
		}
		require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
	}
	for _, v := range d.Templating.List {
		for _, name := range metricName.FindAllString(v.Definition, -1) {
			require.Contains(t, rows, name)
		}
	}
	require.Greater(t, len(used), 20, "too few metrics seen for the test to mean anything")
}

// TestRequireRealFails: the check of queries sees what is wrong.
func TestRequireRealFails(t *testing.T) {
	rows := document(t)
	for _, bad := range [][2]string{
		{"tunnelpool_nothing", ""},
		{"tunnelpool_sessions_bucket", ""},
		{`tunnelpool_sessions{client="a"}`, ""},
		{"sum by (client) (tunnelpool_sessions)", ""},
		{"tunnelpool_sessions", "{{ $labels.client }}"},
		{"sum by (instance) (tunnelpool_session_carriers)", "{{client}}"},
	} {
		probe := new(testing.T)
		done := make(chan struct{})
		go func() { // ends with the check, whose failure ends a goroutine
			defer close(done)
			requireReal(probe, rows, bad[0], bad[1])
		}()
		<-done
		require.True(t, probe.Failed(), "%v passes", bad)
	}
}
