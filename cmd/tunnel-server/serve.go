package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/spf13/cobra"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/access"
	"github.com/tunnelpool/pool/internal/admin"
	"github.com/tunnelpool/pool/internal/cli"
	"github.com/tunnelpool/pool/internal/config"
	"github.com/tunnelpool/pool/internal/settings"
	"github.com/tunnelpool/pool/internal/slack"
	"github.com/tunnelpool/pool/internal/status"
	"github.com/tunnelpool/pool/internal/tunnelmetrics"
	"github.com/tunnelpool/pool/tunnel"
)

func serveCommand() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "tunnel-server",
		Short: "Publish services that live behind NAT",
		Long: `tunnel-server is the public end of a tunnel. It takes pre-dialed, encrypted and
authenticated connections from tunnel-clients on one port, and hands them to the
users of the services that those clients publish.

The first start makes a key and prints the command for the client.

Every flag can also stand in the environment and in a YAML file, --config FILE:
--pool-max 64 is TUNNEL_POOL_MAX=64 there, and pool-max: 64 in the file. A flag
goes before the variable, and that before the file.`,
		Example: `  tunnel-server                                     # everything by default
  tunnel-server --allow-ports 8000-8099             # which ports clients may publish
  tunnel-server --tls 2 --tls-cert fullchain.pem --tls-key privkey.pem
  tunnel-server key add anna --ports 8000-8099      # a key for one more client
  tunnel-server key show                            # the first key, again
  tunnel-server demo                                # see it work on this machine`,
		RunE: func(c *cobra.Command, _ []string) error { return serve(c, f) },
	}
	f.add(c.Flags())
	return c
}

func serve(c *cobra.Command, f serveFlags) error {
	log, err := cli.Logger(f.logLevel, f.logFormat)
	if err != nil {
		return err
	}
	cfg, err := f.serverConfig()
	if err != nil {
		return err
	}
	cfg.Logger = log
	now := settings.From(c.Context())
	cli.TellWarnings(log, now)
	// The key comes last: one made by a start that then fails would never be
	// shown.
	if err := listen(&cfg); err != nil {
		return err
	}
	asked, err := admin.Open(c.Context(), f.admin, log)
	if err != nil {
		cfg.Listener.Close()
		return cli.ListenError("--admin", "an address of this machine", err)
	}
	keys, err := loadKeys(f.keyFile, f.stateDir)
	if err != nil {
		cfg.Listener.Close()
		asked.Close()
		return err
	}
	cfg.Keyring = keys.ring
	server, err := tunnel.NewServer(cfg)
	if err != nil {
		cfg.Listener.Close()
		asked.Close()
		return cli.ConfigError(err, flagOf)
	}
	asked.OpenControl(filepath.Dir(keys.path), status.ServerProgram)
	greet(c.OutOrStdout(), log, server, keys.own, f)
	if len(keys.file.Entries) > 0 {
		keys.tell(log, "Keys")
	}
	defer slack.Release()()
	r := &running{server: server, log: log, keys: keys, certs: f.certs, flags: f, started: now, cfg: cfg}
	manager := manager(server, log)
	reload := cli.Reload{Settings: now, AtStart: atStart, Logger: log, Try: r.reload, Around: manager.Reload}
	defer reload.Start(c.Context())()
	defer manager.Follow(c.Context())()
	following, stop := context.WithCancel(context.WithoutCancel(c.Context())) // while streams finish too
	var tasks sync.WaitGroup
	tasks.Go(func() { keys.follow(following, log) })                         // ends with following
	tasks.Go(func() { f.certs.Follow(following, cli.TellCertificate(log)) }) // likewise
	defer tasks.Wait()
	defer stop()
	defer asked.Serve(c.Context(), administered(server, keys, f.tlsMode, log))()
	return server.Run(c.Context())
}

// administered is what the server answers there.
func administered(server *tunnel.Server, keys *keys, tlsMode string, log pool.Logger) admin.Program {
	return admin.Program{
		Source:    &status.Server{About: status.NewAbout(cli.Version(), tlsMode, log), Server: server},
		Collector: &tunnelmetrics.Server{Server: server, Version: cli.Version()},
		Reload:    func(context.Context) error { return keys.reload(server, log) },
	}
}

// serverKey loads the key, or makes one in the state directory.
func serverKey(keyFile, stateDir string) (config.KeySource, error) {
	dir, err := config.StateDir(stateDir)
	if err != nil {
		return config.KeySource{}, cli.Usage(err)
	}
	key, err := config.ServerKey(keyFile, dir)
	return key, cli.Usage(err)
}

// greet says what is there: after the first start, on a terminal, the command
// for the client; otherwise only where the key is.
func greet(out io.Writer, log pool.Logger, server *tunnel.Server, key config.KeySource, f serveFlags) {
	_, port, _ := net.SplitHostPort(server.Addr().String())
	if key.Loose {
		pool.Tell(log, slog.LevelWarn, "key_readable", pool.Facts{"path", key.Path}, "Others on this machine can read the key: chmod 600 %s", key.Path)
	}
	if key.Created && cli.IsTerminal(out) {
		at := "HOST"
		if port != tunnel.DefaultPort {
			at += ":" + port
		}
		tlsFlag := ""
		if f.tlsMode != string(pool.TLSSelfSigned) {
			tlsFlag = " --tls " + f.tlsMode
		}
		fmt.Fprintf(out, `A key was made and kept in %s.

On the machine behind NAT, with HOST this machine's public name or address, run

  TUNNEL_KEY=%s tunnel-client --server %s%s -R %[5]d:3000

and its port 3000 is published as HOST:%[5]d. The firewall here must let in
TCP %[6]s (the tunnel) and %[5]d (the service).

`, key.Path, key.Key.Text(), at, tlsFlag, examplePort(f.allowPorts, port), port)
	}
	from := "TUNNEL_KEY"
	if key.Path != "" {
		from = key.Path
	}
	pool.Tell(log, slog.LevelInfo, "started",
		pool.Facts{"program", "tunnel-server", "version", cli.Version(), "listener", server.Addr(), "tls", f.tlsMode, "key_id", key.Key.ID(), "path", key.Path},
		"tunnel-server %s listens on %s, TLS mode %s, key %v from %s", cli.Version(), server.Addr(), f.tlsMode, key.Key.ID(), from)
	if f.tlsMode == string(pool.TLSPlain) {
		pool.Tell(log, slog.LevelWarn, "tls_off", nil, "TLS is off: what passes between the two ends can be read and changed on the way")
	}
}

// examplePort is the public port of the command to paste: 8080, or the lowest
// that clients may publish.
func examplePort(allowPorts, own string) int {
	ports, err := access.ParsePorts(allowPorts)
	if n, err := strconv.ParseUint(own, 10, 16); err == nil {
		ports = ports.Without(uint16(n))
	}
	if err == nil && !ports.Allows(preferredPort) {
		for port := 1; port <= 65535; port++ {
			if ports.Allows(uint16(port)) {
				return port
			}
		}
	}
	return preferredPort
}

const preferredPort = 8080
