package config

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/tunnel"
)

func TestPerService(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values []string
		want   map[string]string
		err    string
	}{
		{"none", nil, map[string]string{}, ""},
		{"one for all", []string{"a"}, map[string]string{"web": "a", "ssh": "a"}, ""},
		{"one of its own", []string{"web=a"}, map[string]string{"web": "a"}, ""},
		{"its own before that for all", []string{"ssh=b", "a"}, map[string]string{"web": "a", "ssh": "b"}, ""},
		{"a value with a sign", []string{"web=a=b"}, map[string]string{"web": "a=b"}, ""},
		{"two for all", []string{"a", "b"}, nil, `--flag "b": there is one for all services already, "a"; put SERVICE= in front`},
		{"two of one", []string{"web=a", "web=b"}, nil, `--flag "web=b": service "web" has one already`},
		{"an unknown service", []string{"wed=a"}, nil, `--flag "wed=a": no -R is called "wed"; there is "web", "ssh"`},
		{"a bad value", []string{"bad"}, nil, `--flag "bad": no such thing`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			services := []tunnel.Service{{Name: "web"}, {Name: "ssh"}}
			got := make(map[string]string)
			err := PerService("--flag", tt.values, services, func(s *tunnel.Service, value string) error {
				if value == "bad" {
					return errors.New("no such thing")
				}
				got[s.Name] = value
				return nil
			})
			if tt.err != "" {
				require.EqualError(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

// TestPerServiceWithoutServices: a value that nothing has is no value to ignore.
func TestPerServiceWithoutServices(t *testing.T) {
	set := func(*tunnel.Service, string) error { return nil }
	require.NoError(t, PerService("--flag", nil, nil, set))
	for _, value := range []string{"a", "web=a"} {
		require.ErrorContains(t, PerService("--flag", []string{value}, nil, set), "there is no -R")
	}
}
