package access

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTargets(t *testing.T) {
	targets, err := ParseTargets("db:5432, 10.0.0.7:8000-8099,*:22,[2001:db8::1]:*")
	require.NoError(t, err)
	for target, want := range map[string]bool{
		"db:5432": true, "DB:5432": true, "db.:5432": true, "db:5433": false, "db.evil:5432": false,
		"10.0.0.7:8000": true, "10.0.0.7:8099": true, "10.0.0.7:8100": false, "[::ffff:10.0.0.7]:8000": true, "10.0.0.8:8000": false,
		"anything:22": true, "[2001:db8::1]:1": true, "[2001:db8:0::1]:65535": true, "[2001:db8::2]:1": false,
		"db": false, "db:": false, ":22": false, "db:+5432": false, "db:0": false, "db:65536": false, "x:0022": true, "*:22": true, "*:5432": false, "": false,
	} {
		require.Equal(t, want, targets.Allow(target), target)
	}
	require.False(t, targets.Empty())
	none, err := ParseTargets(" ")
	require.NoError(t, err)
	require.True(t, none.Empty())
	require.False(t, none.Allow("db:5432"))
	require.False(t, Targets{}.Allow("db:5432"))
}

func TestParseTargetsMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"db":          `"db" is not HOST:PORT`,
		"db:5432,":    `"" is not HOST:PORT`,
		":22":         `":22" is not HOST:PORT`,
		"db:http":     `"db:http"`,
		"db:9-1":      `"db:9-1"`,
		"2001:db8::1": `is not HOST:PORT`,
	} {
		_, err := ParseTargets(text)
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "\n")
	}
}
