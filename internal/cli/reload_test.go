package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/logging"
	"github.com/tunnelpool/pool/internal/settings"
)

// define has a setting of each manner of change.
func define(fl *pflag.FlagSet) {
	fl.Int("pool-max", 1, "")
	fl.String("listen", "", "")
	fl.StringArray("reverse", nil, "")
}

// TestReload: each outcome is one line, and a restart that is needed another one.
func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "conf.yaml")
	require.NoError(t, os.WriteFile(path, []byte("pool-max: 2\n"), 0o600))
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	define(flags)
	flags.String(settings.ConfigFlag, "", "")
	require.NoError(t, flags.Parse([]string{"--config", path}))
	started, err := settings.Load(flags, flags)
	require.NoError(t, err)
	log, err := logging.New(logging.Options{Level: "none", Format: logging.Text})
	require.NoError(t, err)
	around := 0
	var change Change
	var refuse error
	r := &Reload{Settings: started, Logger: log, AtStart: []string{"listen"}, Around: func(f func()) { around++; f() }, Try: func(data []byte) (*settings.Settings, Change, error) {
		next, err := started.Again(data, define)
		if err == nil {
			change.Restart = Restarts(started, next, []string{"listen"}, nil, nil)
			err = refuse
		}
		return next, change, err
	}}
	told := 0
	tell := func(data string, want ...string) {
		t.Helper()
		r.reload([]byte(data), nil)
		var lines []string
		for _, e := range log.Recent()[told:] {
			lines = append(lines, e.Name+": "+e.Text)
			told++
		}
		require.Equal(t, want, lines)
	}
	const same = "configuration_read: The configuration was read again: nothing of it has changed that can while the program runs"
	restart := "restart_needed: The configuration has other values for what needs a restart: listen"
	tell("pool-max: 2", same)
	tell("pool-max: 3", "configuration_changed: The configuration has changed: pool-max")
	tell("pool-max: 3\nlisten: a", same, restart)
	tell("pool-max: 4\nlisten: a", "configuration_changed: The configuration has changed: pool-max", restart)
	tell("pool-max: 4", same)
	tell("pool-max: x", "configuration_refused: "+path+`:1: pool-max: "x" is not a whole number; the configuration stays as it was`)
	key := pool.NewKey().Text()
	tell(key+": x", "configuration_refused: "+path+`:1: unknown setting "(a key, not shown)"; --help shows the flags, and they are the settings; the configuration stays as it was`)
	refuse = Usagef("--pool-max 0: want at least 1")
	tell("\npool-max: 0", "configuration_refused: "+path+":2: pool-max 0: want at least 1; the configuration stays as it was")
	refuse, change = nil, Change{Details: []string{"services web added"}, Covered: []string{"reverse"}}
	tell("reverse: [a]\npool-max: 5", "configuration_changed: The configuration has changed: services web added; pool-max")
	require.Zero(t, around)
	r.reload(nil, errors.New("gone"))
	require.Equal(t, "gone; the configuration stays as it was", log.Recent()[told].Text)

	none := &Reload{Settings: new(settings.Settings)}
	none.Start(context.Background())()
}

func TestRestarts(t *testing.T) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	define(flags)
	s, err := settings.Load(flags, flags)
	require.NoError(t, err)
	next, err := s.Again(nil, func(fl *pflag.FlagSet) { define(fl); require.NoError(t, fl.Lookup("listen").Value.Set("b")) })
	require.NoError(t, err)
	byField := map[string]string{"Listen": "--listen", "TLS": "--tls", "TLSConfig": "--tls"}
	require.Equal(t, []string{"listen", "tls", "Other"}, Restarts(s, next, []string{"listen", "pool-max"}, []string{"Listen", "TLS", "TLSConfig", "Other"}, byField))
	require.Empty(t, Restarts(s, s, []string{"listen"}, nil, byField))
}
