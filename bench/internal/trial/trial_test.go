package trial

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain is also what the processes of a trial run.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && IsRole(os.Args[1]) {
		if err := Role(os.Args[1], os.Args[2:]); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func build(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	c := exec.Command("go", "build", "-C", filepath.Join("..", "..", ".."), "-o", dir+string(filepath.Separator), "./cmd/tunnel-server", "./cmd/tunnel-client")
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return dir
}

// TestEveryContestantHasFigures runs a short part with real processes: what the
// programs print, and the roles, must be understood.
func TestEveryContestantHasFigures(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds and starts programs")
	}
	bin, scratch := build(t), t.TempDir()
	run := func(t *testing.T, rtt time.Duration) *Trial {
		trial := &Trial{
			Contestants: []Contestant{
				Direct(), Tunnelpool("plain", bin, "0", scratch), Tunnelpool("TLS", bin, "1", scratch), Mux(),
			},
			Rounds: 2, Quick: true,
			Parts:      func(name string) bool { return name == "first" },
			RoundTrips: []time.Duration{rtt},
			Progress:   t.Logf,
		}
		trial.Run()
		return trial
	}
	check := func(t *testing.T, trial *Trial) {
		var out strings.Builder
		trial.Sheet.Text(&out)
		require.Empty(t, trial.Sheet.Notes(), out.String())
		rows := 0
		for line := range strings.Lines(out.String()) {
			if strings.Contains(line, "first byte") {
				rows++
				require.Equal(t, len(trial.Contestants), strings.Count(line, "–"), "a spread for each: %s", line)
			}
		}
		require.Equal(t, 4, rows, out.String())
	}
	t.Run("loopback", func(t *testing.T) { check(t, run(t, 0)) })
	t.Run("link", func(t *testing.T) {
		if n, err := link(time.Millisecond); err != nil {
			trial := run(t, time.Millisecond)
			require.Len(t, trial.Sheet.Notes(), 1, "it says that it cannot")
			t.Skip(err)
		} else {
			n.close()
		}
		check(t, run(t, time.Millisecond))
	})
}

// TestAFailedContestantIsNoted and does not end the run.
func TestAFailedContestantIsNoted(t *testing.T) {
	trial := &Trial{
		Contestants: []Contestant{Direct(), Tunnelpool("plain", t.TempDir(), "0", t.TempDir())},
		Rounds:      1, Quick: true,
		Parts:      func(name string) bool { return name == "echo" },
		RoundTrips: []time.Duration{0},
		Progress:   t.Logf,
	}
	trial.Run()
	require.Len(t, trial.Sheet.Notes(), 1)
	require.Contains(t, trial.Sheet.Notes()[0], "plain: start tunnel-server")
}

func TestRolesTakeTheirArguments(t *testing.T) {
	for _, role := range roles {
		require.True(t, IsRole(role))
		require.ErrorContains(t, Role(role, nil), role)
	}
	require.False(t, IsRole("-quick"))
}
