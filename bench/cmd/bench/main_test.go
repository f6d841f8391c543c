package main

import (
	"flag"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMistakesAreNamed(t *testing.T) {
	for mistake, want := range map[string]string{
		"-parts rate,dance":  `no part "dance"`,
		"-columns direct,me": `no column "me"`,
		"-rtt soon":          `-rtt "soon"`,
		"-rtt -1ms":          `-rtt "-1ms"`,
		"-rounds 0":          "-rounds 0",
		"-against before":    "NAME=DIR",
		"now":                `unknown argument "now"`,
	} {
		require.ErrorContains(t, run(strings.Fields(mistake), io.Discard, io.Discard), want, mistake)
	}
}

func TestHelpListsTheParts(t *testing.T) {
	var out strings.Builder
	require.ErrorIs(t, run([]string{"-help"}, io.Discard, &out), flag.ErrHelp)
	require.Contains(t, out.String(), "  rate     new connections per second")
}

func TestDefaults(t *testing.T) {
	f, err := parse(nil, io.Discard)
	require.NoError(t, err)
	require.Equal(t, 3, f.rounds)
	parts, err := chosen(f.parts)
	require.NoError(t, err)
	require.True(t, parts("rate"))
	require.False(t, parts("upload"))
	trips, err := roundTrips(f.roundTrips)
	require.NoError(t, err)
	require.Equal(t, []time.Duration{0, 40 * time.Millisecond, 150 * time.Millisecond}, trips)

	f, err = parse([]string{"-quick"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, 1, f.rounds)
	f, err = parse([]string{"-quick", "-rounds", "5"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, 5, f.rounds)
}

func TestAgainstAddsColumns(t *testing.T) {
	all, err := contestants("direct,plain,tls,yamux", "/new", "before=/old", "/tmp")
	require.NoError(t, err)
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
	}
	require.Equal(t, []string{"direct", "tunnelpool plain", "before: tunnelpool plain", "tunnelpool TLS", "before: tunnelpool TLS", "yamux TLS"}, names)
}
