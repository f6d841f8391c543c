package proc

import (
	"os/exec"
	"regexp"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const limit = 20 * time.Second

// shell runs a script until the test ends.
func shell(t *testing.T, script string) *Process {
	t.Helper()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh")
	}
	p, err := Start("sh", exec.Command(sh, "-c", script), (*exec.Cmd).Start)
	require.NoError(t, err)
	t.Cleanup(p.Stop)
	return p
}

func TestAwait(t *testing.T) {
	p := shell(t, "echo one; echo two >&2; echo one again; read x")
	one := regexp.MustCompile(`^(one)`)
	found, next, err := p.Await(0, one, limit)
	require.NoError(t, err)
	require.Equal(t, []string{"one", "one"}, found)
	require.Equal(t, 1, next)
	_, next, err = p.Await(next, one, limit)
	require.NoError(t, err)
	require.Equal(t, 3, next)
	_, _, err = p.Await(next, one, time.Millisecond)
	require.ErrorContains(t, err, "sh has written no line")
	require.ErrorContains(t, err, "two", "standard error is read too, and told")
}

func TestAwaitOfWhatEnds(t *testing.T) {
	p := shell(t, "echo it is over")
	_, err := p.Ready(regexp.MustCompile("never"))
	require.ErrorContains(t, err, "sh has ended")
	require.ErrorContains(t, err, "it is over")
}

func TestStartOfNothing(t *testing.T) {
	_, err := Start("nothing", exec.Command("/nonexistent/program"), (*exec.Cmd).Start)
	require.ErrorContains(t, err, "start nothing")
}

// TestUsage has a shell work and then wait.
func TestUsage(t *testing.T) {
	p := shell(t, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; read x")
	_, err := p.Ready(regexp.MustCompile("^done$"))
	require.NoError(t, err)
	if runtime.GOOS != "linux" {
		_, err := p.CPU()
		require.ErrorIs(t, err, ErrUnknown)
		return
	}
	before, err := p.CPU()
	require.NoError(t, err)
	require.Greater(t, before, 100*time.Microsecond)
	require.Less(t, before, limit)
	m, err := p.Memory()
	require.NoError(t, err)
	require.Positive(t, m.PSS)
	require.GreaterOrEqual(t, m.RSS, m.PSS)
	open, err := p.Descriptors()
	require.NoError(t, err)
	require.GreaterOrEqual(t, open, 3)
	p.Stop()
	p.Stop()
	_, err = p.CPU()
	require.Error(t, err, "the process is gone")
}
