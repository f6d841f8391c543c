package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/checkup"
	"github.com/tunnelpool/pool/internal/cli"
	"github.com/tunnelpool/pool/internal/config"
	"github.com/tunnelpool/pool/internal/keyfile"
	"github.com/tunnelpool/pool/internal/settings"
	"github.com/tunnelpool/pool/tunnel"
)

// The names of the steps of a check that are the command's own.
const (
	stepKeys  = "keys"
	stepState = "state_dir"
)

func checkCommand() *cobra.Command {
	var f serveFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Find out, step by step, whether the server would work here, and what to do if not",
		Long: `Find out whether tunnel-server would work with the same flags: the certificate and
until when it is good, the tunnel's own port, the public ports, the limit of open
files, the key, the keys of clients, and the state directory. Each step takes a
line and, where something is wrong, says what to do.

Nothing is opened or made, and nobody else is asked: the check may run beside the
server itself, of which it tells that it runs. Run it as the server's user.

The exit status is 0 when all is well, 1 when a step failed, and 2 when the
flags cannot work.`,
		Example: `  tunnel-server check
  tunnel-server check --tls 2 --tls-cert fullchain.pem --tls-key privkey.pem --json`,
		RunE: func(c *cobra.Command, _ []string) error {
			return check(c, f, checkup.New(c.Root().Name(), c.OutOrStdout(), asJSON))
		},
	}
	f.add(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print the steps as one JSON document")
	return c
}

func check(c *cobra.Command, f serveFlags, report *checkup.Report) error {
	cfg, keys, err := f.forCheck()
	if err != nil {
		return report.Refused(err)
	}
	if err := inherit(&cfg); err != nil {
		return err
	}
	defer closeInherited(cfg)
	warned := settings.From(c.Context()).Warnings
	err = tunnel.ProbeServer(c.Context(), cfg, func(s tunnel.ProbeStep) {
		report.Step(s)
		if s.Name == tunnel.StepConfiguration {
			report.Warnings(warned)
		}
	})
	if c.Context().Err() != nil {
		return err
	}
	for _, s := range keys.steps() {
		report.Step(s)
	}
	report.Admin(c.Context(), f.admin.Address, keys.dir)
	return report.End()
}

// closeInherited closes the sockets that were handed over to this program.
func closeInherited(cfg tunnel.ServerConfig) {
	if cfg.Listener != nil {
		cfg.Listener.Close()
	}
	for _, l := range cfg.Inherited {
		l.Close()
	}
}

// foundKeys are the keys that a server would start with.
type foundKeys struct {
	own    config.KeySource // zero: the first start makes one
	dir    string           // of the state
	file   keyfile.File
	grants []tunnel.Grant
}

// forCheck is the configuration that the server would run with. It makes nothing:
// where there is no key yet, one that nobody has stands in.
func (f *serveFlags) forCheck() (cfg tunnel.ServerConfig, keys foundKeys, err error) {
	if _, err = cli.Logger(f.logLevel, f.logFormat); err != nil {
		return cfg, keys, err
	}
	if cfg, err = f.serverConfig(); err != nil {
		return cfg, keys, err
	}
	if keys.dir, err = config.StateDir(f.stateDir); err != nil {
		return cfg, keys, err
	}
	if keys.file, err = keyfile.Read(keys.path()); err != nil {
		return cfg, keys, err
	}
	if keys.own, err = config.ExistingKey(f.keyFile, keys.dir); err != nil {
		return cfg, keys, err
	}
	own := keys.own.Key
	if own.IsZero() {
		own = pool.NewKey()
	}
	keys.grants = keys.file.Grants(own)
	if cfg.Keyring, err = tunnel.NewKeyring(keys.grants...); err != nil {
		err = fmt.Errorf("%s: %w", keys.path(), err)
	}
	return cfg, keys, err
}

func (k *foundKeys) path() string { return filepath.Join(k.dir, keyfile.Name) }

// steps tell of the keys and where they are kept.
func (k *foundKeys) steps() []tunnel.ProbeStep {
	key := tunnel.ProbeStep{Name: tunnel.StepKey, State: tunnel.ProbeOK}
	if k.own.Key.IsZero() {
		key.Detail = "none yet: the first start makes one, in " + filepath.Join(k.dir, "key")
	} else {
		key.Detail = k.own.Key.ID().String()
		key = checkup.Key(key, k.own)
	}
	return []tunnel.ProbeStep{key, k.clients(), k.state()}
}

func (k *foundKeys) clients() tunnel.ProbeStep {
	step := tunnel.ProbeStep{Name: stepKeys, State: tunnel.ProbeOK, Detail: fmt.Sprintf("%s, %s", cli.Count(len(k.grants), "key"), k.path())}
	switch {
	case len(k.grants) == 0:
		step.State, step.Detail = tunnel.ProbeWarning, k.path()+": no client is let in"
		step.Remedy = "tunnel-server key add NAME makes a key"
	case config.Loose(k.path()):
		step.State, step.Remedy = tunnel.ProbeWarning, "others on this machine can read them: chmod 600 "+k.path()
	case len(k.file.Entries) == 0:
		step.Detail = "the one above is the only one; there is no " + k.path()
	}
	return step
}

// state looks at the directory where a first start keeps its key, and the keys of
// clients are.
func (k *foundKeys) state() tunnel.ProbeStep {
	step := tunnel.ProbeStep{Name: stepState, State: tunnel.ProbeOK}
	there, err := config.Writable(k.dir)
	switch {
	case err != nil:
		step.Detail, step.Remedy = "cannot be written: "+err.Error(), "name another place with --state-dir, or run as its owner"
		step.State = tunnel.ProbeWarning // the key is there
		if k.own.Key.IsZero() {
			step.State, step.Err = tunnel.ProbeFailed, err
		}
	case !there:
		step.Detail = k.dir + " is made by the first start"
	default:
		step.Detail = k.dir + " can be written"
	}
	return step
}
