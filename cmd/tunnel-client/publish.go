package main

import (
	"errors"
	"log/slog"
	"net"

	"github.com/spf13/cobra"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/admin"
	"github.com/tunnelpool/pool/internal/cli"
	"github.com/tunnelpool/pool/internal/config"
	"github.com/tunnelpool/pool/internal/settings"
	"github.com/tunnelpool/pool/internal/slack"
	"github.com/tunnelpool/pool/internal/status"
	"github.com/tunnelpool/pool/internal/tunnelmetrics"
	"github.com/tunnelpool/pool/tunnel"
)

func publishCommand() *cobra.Command {
	var f publishFlags
	c := &cobra.Command{
		Use:   "tunnel-client --server HOST[:PORT] -R PORT:[HOST:]PORT …",
		Short: "Publish services of this network on a tunnel-server, and reach some of the server's",
		Long: `tunnel-client publishes services that it can reach on a tunnel-server's public
ports. It only dials out, so it works behind NAT; it keeps connections ready, so
that a user is served at once; and it reconnects for ever.

  -R [NAME=][udp/][BIND:]PORT:[HOST:]HOSTPORT

PORT is public, on the server (0: the server chooses); HOST:HOSTPORT is the
target here, HOST by default localhost. IPv6 addresses stand in brackets.
Several targets, separated by commas, share the users and cover for each other;
unix:/PATH is a target too.

  -L [NAME=][udp/][BIND:]PORT:[HOST:]HOSTPORT

leads the other way: PORT is here, on 127.0.0.1 unless BIND says otherwise, and
HOST:HOSTPORT is a target of the server's, which its --allow-forward must name.

Every flag can also stand in the environment and in a YAML file, --config FILE:
--pool-max 64 is TUNNEL_POOL_MAX=64 there, and pool-max: 64 in the file. A flag
goes before the variable, and that before the file.`,
		Example: `  TUNNEL_KEY=… tunnel-client --server example.com -R 8080:3000
  tunnel-client --server example.com --key-file key -R web=8080:3000 -R ssh=2222:22
  tunnel-client --server example.com --key-file key -R 8080:192.168.1.20:80
  tunnel-client --server example.com --key-file key -R 8080:3001,3002 --health http:/healthz
  tunnel-client --server example.com --key-file key -R udp/5353:127.0.0.1:53
  tunnel-client --server example.com --tls 2 --key-file key -R 8080:3000
  tunnel-client --server example.com --key-file key -L 5432:db:5432`,
		RunE: func(c *cobra.Command, _ []string) error { return publish(c, f) },
	}
	f.add(c.Flags())
	return c
}

func publish(c *cobra.Command, f publishFlags) error {
	log, err := cli.Logger(f.logLevel, f.logFormat)
	if err != nil {
		return err
	}
	cfg, err := f.clientConfig()
	if err != nil {
		return err
	}
	progress := &warming{Logger: log}
	cfg.Logger = progress
	now := settings.From(c.Context())
	cli.TellWarnings(log, now)
	dir, err := config.StateDir(f.stateDir)
	if err != nil {
		return cli.Usage(err)
	}
	key, err := config.ClientKey(f.keyFile, dir)
	if err != nil {
		return cli.Usage(err)
	}
	cfg.Key = key.Key
	if cfg.Identity, err = config.Identity(dir); err != nil {
		return cli.Usage(err)
	}
	client, err := tunnel.NewClient(cfg)
	if err != nil {
		return refused(err)
	}
	asked, err := admin.Open(c.Context(), f.admin, log)
	if err != nil {
		client.Close()
		return cli.ListenError("--admin", "an address of this machine", err)
	}
	asked.OpenControl(dir, status.ClientProgram)
	if key.Loose {
		pool.Tell(log, slog.LevelWarn, "key_readable", pool.Facts{"path", key.Path}, "Others on this machine can read the key: chmod 600 %s", key.Path)
	}
	pool.Tell(log, slog.LevelInfo, "started",
		pool.Facts{"program", "tunnel-client", "version", cli.Version(), "server", f.server, "tls", f.tlsMode, "key_id", key.Key.ID()},
		"tunnel-client %s, server %s, TLS mode %s, key %v", cli.Version(), f.server, f.tlsMode, key.Key.ID())
	defer slack.Release()()
	r := &running{client: client, log: log, certs: f.certs, started: now, stateDir: dir, flags: f, cfg: cfg, key: key}
	manager := manager(client, r.server, log)
	reload := cli.Reload{Settings: now, AtStart: atStart, Logger: log, Try: r.reload, Around: manager.Reload}
	defer reload.Start(c.Context())()
	defer r.follow(c.Context())()
	defer manager.Follow(c.Context())()
	if len(cfg.Services) > 0 {
		defer progress.follow(c.Context(), client, f.poolMin)()
	}
	defer asked.Serve(c.Context(), admin.Program{
		Source:    &status.Client{About: status.NewAbout(cli.Version(), f.tlsMode, log), Client: client},
		Collector: &tunnelmetrics.Client{Client: client, Version: cli.Version()},
	})()
	return client.Run(c.Context())
}

// refused is why the client does not take a configuration.
func refused(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return cli.ListenError("-L", "an address of this machine", op)
	}
	return cli.ConfigError(err, flagOf)
}
