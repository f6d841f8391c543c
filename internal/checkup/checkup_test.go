package checkup

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/tunnel"
)

// TestMain fails the package when a test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var someSteps = []tunnel.ProbeStep{
	{Name: tunnel.StepConfiguration, State: tunnel.ProbeOK, Detail: "2 services"},
	{Name: tunnel.StepTLS, State: tunnel.ProbeWarning, Time: 3140 * time.Microsecond, Detail: "verified, SHA-256 " + strings.Repeat("0123456789abcdef", 4), Remedy: "it ends in 3 days: renew it on the server"},
	{Name: tunnel.StepRoundTrip, Subject: "a", State: tunnel.ProbeFailed, Time: 10 * time.Second, Detail: "it failed", Remedy: "do this", Err: errors.New("it failed")},
	{Name: tunnel.StepPooled, State: tunnel.ProbeSkipped, Detail: `not tried, since "round_trip" failed`},
}

func TestLines(t *testing.T) {
	var b bytes.Buffer
	r := New("prog", &b, false)
	for _, s := range someSteps {
		r.Step(s)
	}
	require.EqualError(t, r.End(), "the check found 1 failure")
	require.Equal(t, `ok                configuration  2 services
warning   3.1 ms  TLS            verified, SHA-256 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
                                 -> it ends in 3 days: renew it on the server
failed    10.0 s  round trip     it failed
                                 -> do this
skipped           pooled         not tried, since "round_trip" failed
`, b.String())
}

func TestLinesFitTheTerminal(t *testing.T) {
	var b bytes.Buffer
	r := &Report{out: &b, width: 60, color: true}
	for _, s := range someSteps[:2] {
		r.Step(s)
	}
	require.NoError(t, r.End())
	require.Equal(t, "\x1b[32mok     \x1b[0m           configuration  2 services\n"+
		"\x1b[33mwarning\x1b[0m   3.1 ms  TLS            verified, SHA-256 012345678\n"+
		"                                 9abcdef0123456789abcdef0123\n"+
		"                                 456789abcdef0123456789abcde\n"+
		"                                 f\n"+
		"                                 -> it ends in 3 days: renew\n"+
		"                                    it on the server\n"+
		"It works, with 1 warning.\n", b.String())
	for line := range strings.Lines(b.String()) {
		for _, color := range append([]string{noColor}, colors[tunnel.ProbeOK], colors[tunnel.ProbeWarning]) {
			line = strings.ReplaceAll(line, color, "")
		}
		require.LessOrEqual(t, len([]rune(strings.TrimRight(line, "\n"))), 60, line)
	}
}

func TestAllWell(t *testing.T) {
	var b bytes.Buffer
	r := New("prog", &b, false)
	r.Step(someSteps[0])
	require.NoError(t, r.End())
	require.True(t, strings.HasSuffix(b.String(), "\nAll is well.\n"))
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	r := New("prog", &b, true)
	for _, s := range someSteps[2:] {
		r.Step(s)
	}
	require.Empty(t, b.String(), "one document, in the end")
	require.Error(t, r.End())
	require.Equal(t, `{
  "program": "prog",
  "ok": false,
  "steps": [
    {
      "step": "round_trip",
      "subject": "a",
      "state": "failed",
      "seconds": 10,
      "detail": "it failed",
      "remedy": "do this"
    },
    {
      "step": "pooled",
      "state": "skipped",
      "detail": "not tried, since \"round_trip\" failed"
    }
  ]
}
`, b.String())

	b.Reset()
	err := New("prog", &b, true).Refused(errors.New("--x: odd"))
	require.EqualError(t, err, "--x: odd")
	require.JSONEq(t, `{"program":"prog","ok":false,"steps":[{"step":"configuration","state":"failed","detail":"--x: odd"}]}`, b.String())
	b.Reset()
	require.Error(t, New("prog", &b, false).Refused(errors.New("--x: odd")))
	require.Empty(t, b.String(), "people are told by the program's one line")
}

func TestTimes(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "", 85 * time.Microsecond: "0.09 ms", 3140 * time.Microsecond: "3.1 ms", 41 * time.Millisecond: "41 ms", 10040 * time.Millisecond: "10.0 s",
	} {
		require.Equal(t, want, timeText(d))
	}
}

// A key that was typed where it does not belong does not come back.
func TestKeysAreNotShown(t *testing.T) {
	key := pool.NewKey().Text()
	for _, asJSON := range []bool{false, true} {
		var b bytes.Buffer
		r := New("prog", &b, asJSON)
		r.Step(tunnel.ProbeStep{Name: "name", Subject: key, State: tunnel.ProbeFailed, Detail: `Name "` + key + `" not found`, Remedy: key})
		require.Error(t, r.End())
		require.NotContains(t, b.String(), key[:12])
	}
}
