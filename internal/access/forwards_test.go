package access

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestForwards(t *testing.T) {
	f, err := ParseForwards("db.internal:5432, 10.0.0.7:8000-8099,*:443,[2001:db8::1]:*")
	require.NoError(t, err)
	require.Equal(t, "db.internal:5432,10.0.0.7:8000-8099,*:443,[2001:db8::1]:*", f.String())
	for _, tt := range []struct {
		host string
		port uint16
		want bool
	}{
		{"db.internal", 5432, true},
		{"DB.Internal.", 5432, true},
		{"db.internal", 5433, false},
		{"sub.db.internal", 5432, false},
		{"10.0.0.7", 8000, true},
		{"::ffff:10.0.0.7", 8099, true},
		{"10.0.0.7", 8100, false},
		{"10.0.0.8", 8000, false},
		{"anything", 443, true},
		{"10.0.0.8", 443, true},
		{"", 443, false},
		{"2001:db8:0::1", 22, true},
		{"2001:db8::2", 22, false},
	} {
		require.Equal(t, tt.want, f.Allow(tt.host, tt.port), "%s %d", tt.host, tt.port)
	}
	require.False(t, Forwards{}.Allow("db.internal", 5432))
	require.Equal(t, "none", Forwards{}.String())
}

func TestWrongForwards(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "no destinations given",
		"db.internal":                `"db.internal" is not HOST:PORT`,
		":5432":                      `":5432" is not HOST:PORT`,
		"db.internal:":               `"db.internal:" is not HOST:PORT`,
		"2001:db8::1:443":            `is not HOST:PORT`,
		"*.internal:443":             `is not HOST:PORT`,
		"10.0.0.0/8:443":             `is not HOST:PORT`,
		"db.internal:http":           `"db.internal:http": "http" is not a port`,
		"db.internal:99-1":           "runs backwards",
		"db.internal:5432,":          `"" is not HOST:PORT`,
		strings.Repeat("a:1,", 5000): "more than 4096",
	} {
		_, err := ParseForwards(text)
		require.ErrorContains(t, err, want, text)
	}
}
