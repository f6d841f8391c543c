package config

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/tunnel"
)

func TestParseForward(t *testing.T) {
	for text, want := range map[string]tunnel.Forward{
		"5432:5432":                 {Listen: ":5432", Target: "localhost:5432"},
		"5432:db:6432":              {Listen: ":5432", Target: "db:6432"},
		"0.0.0.0:5432:db:5432":      {Listen: "0.0.0.0:5432", Target: "db:5432"},
		"[::1]:0:[2001:db8::1]:80":  {Listen: "[::1]:0", Target: "[2001:db8::1]:80"},
		"udp/5353:10.0.0.7:53":      {Network: "udp", Listen: ":5353", Target: "10.0.0.7:53"},
		"dns=udp/53:53":             {Name: "dns", Network: "udp", Listen: ":53", Target: "localhost:53"},
		"the db=5432:10.0.0.7:5432": {Name: "the db", Listen: ":5432", Target: "10.0.0.7:5432"},
	} {
		f, err := ParseForward(text)
		require.NoError(t, err, text)
		require.Equal(t, want, f, text)
	}
}

func TestParseForwardMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"":                 "the number of fields between colons is 1, not 2, 3 or 4",
		"5432":             "the number of fields between colons is 1, not 2, 3 or 4",
		"=5432:5432":       "the name before '=' is empty",
		"x:5432":           `the port to listen on "x" is not a number from 0 to 65535`,
		"5432:db:0":        `the target port "0" is not a number from 1 to 65535`,
		"5432::5432":       "the target's host is empty; leave it out for localhost",
		"lan:5432:db:5432": `the bind address "lan" is not an IP address`,
		"5432:db:5432:1:1": "the number of fields between colons is 5, not 2, 3 or 4",
		"5432:[db]:5432":   `"[db]" is not an IPv6 address in brackets`,
	} {
		_, err := ParseForward(text)
		require.ErrorContains(t, err, want, text)
		require.ErrorContains(t, err, forwardForm)
	}
}
