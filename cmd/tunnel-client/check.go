package main

import (
	"github.com/spf13/cobra"

	"github.com/tunnelpool/pool/internal/checkup"
	"github.com/tunnelpool/pool/internal/cli"
	"github.com/tunnelpool/pool/internal/config"
	"github.com/tunnelpool/pool/internal/settings"
	"github.com/tunnelpool/pool/tunnel"
)

func checkCommand() *cobra.Command {
	var f publishFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "check --server HOST[:PORT] -R PORT:[HOST:]PORT …",
		Short: "Try the way to the server step by step, and say what to do where it ends",
		Long: `Try whether tunnel-client would work with the same flags: the server's name,
TCP, TLS, the key, the session, the round trip, whether each service may have its
public port, whether each target can be dialed, and the forwards. Each step takes
a line, with its time and, where something is wrong, what to do.

Nothing is opened and nothing is taken from anybody: the check may run beside the
client itself, of which it tells that it runs. Run it as the client's user, so that
it finds the same key and state directory.

The exit status is 0 when all is well, 1 when a step failed, and 2 when the
flags cannot work.`,
		Example: `  tunnel-client check --server example.com --key-file key -R 8080:3000
  tunnel-client check --server example.com --key-file key -R 8080:3000 --json`,
		RunE: func(c *cobra.Command, _ []string) error {
			return check(c, f, checkup.New(c.Root().Name(), c.OutOrStdout(), asJSON))
		},
	}
	f.add(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print the steps as one JSON document")
	return c
}

func check(c *cobra.Command, f publishFlags, report *checkup.Report) error {
	cfg, key, dir, err := f.forCheck()
	if err != nil {
		return report.Refused(err)
	}
	warned := settings.From(c.Context()).Warnings
	err = tunnel.Probe(c.Context(), cfg, func(s tunnel.ProbeStep) {
		if s.Name == tunnel.StepKey {
			s = checkup.Key(s, key)
		}
		report.Step(s)
		if s.Name == tunnel.StepConfiguration {
			report.Warnings(warned)
		}
	})
	if c.Context().Err() != nil {
		return err
	}
	report.Admin(c.Context(), f.admin.Address, dir)
	return report.End()
}

// forCheck is the configuration that the client would run with. It makes nothing.
func (f *publishFlags) forCheck() (cfg tunnel.ClientConfig, key config.KeySource, stateDir string, err error) {
	if _, err = cli.Logger(f.logLevel, f.logFormat); err != nil {
		return cfg, key, "", err
	}
	if cfg, err = f.clientConfig(); err != nil {
		return cfg, key, "", err
	}
	if stateDir, err = config.StateDir(f.stateDir); err != nil {
		return cfg, key, "", err
	}
	if key, err = config.ClientKey(f.keyFile, stateDir); err != nil {
		return cfg, key, "", err
	}
	cfg.Key = key.Key
	cfg.Identity, err = config.ExistingIdentity(stateDir)
	return cfg, key, stateDir, err
}
