package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain fails the package when a test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run([]string{"-stories", "1", "-rtt", "10ms", "-scale", "0.1"}, &out, io.Discard))
	require.Contains(t, out.String(), "Round trip 10ms, 1 story per trace")
	require.Contains(t, out.String(), "All rates times 0.1")
	require.Contains(t, out.String(), "| flash crowd | tunnelpool |")
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	args := []string{"-stories", "1", "-scale", "0.1", "-write", dir}
	require.ErrorIs(t, run(args, io.Discard, io.Discard), os.ErrNotExist)
	doc := filepath.Join(dir, "ADAPTATION.md")
	require.NoError(t, os.WriteFile(doc, []byte("no marks"), 0o600))
	require.ErrorContains(t, run(args, io.Discard, io.Discard), doc)

	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "ADAPTATION.md"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(doc, text, 0o600))
	require.NoError(t, run(args, io.Discard, io.Discard))
	written, err := os.ReadFile(doc)
	require.NoError(t, err)
	require.Contains(t, string(written), "All rates times 0.1")
	plots, err := os.ReadDir(filepath.Join(dir, "adaptation"))
	require.NoError(t, err)
	require.Len(t, plots, 6)
}

func TestBadArguments(t *testing.T) {
	for _, args := range [][]string{{"-rtt", "-1s"}, {"-stories", "-1"}, {"-scale", "-1"}, {"more"}, {"-nonsense"}} {
		require.Error(t, run(args, io.Discard, io.Discard), "%v", args)
	}
}
