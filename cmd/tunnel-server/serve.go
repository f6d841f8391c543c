package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/access"
	"github.com/tunnelpool/pool/internal/cli"
	"github.com/tunnelpool/pool/internal/config"
	"github.com/tunnelpool/pool/internal/slack"
	"github.com/tunnelpool/pool/tunnel"
)

type serveFlags struct {
	listen, bind, allowPorts string
	allowForward, allowFrom  string
	trustProxy               string
	tlsMode, tlsCert, tlsKey string
	tlsClientCA              string
	keyFile, stateDir        string
	poolMax                  int
	heartbeat, wait, drain   time.Duration
	linger                   time.Duration
	maxSessions, maxStreams  int
	maxPerService, maxFlows  int
	logLevel                 string
}

func serveCommand() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "tunnel-server",
		Short: "Publish services that live behind NAT",
		Long: `tunnel-server is the public end of a tunnel. It takes pre-dialed, encrypted and
authenticated connections from tunnel-clients on one port, and hands them to the
users of the services that those clients publish.

The first start makes a key and prints the command for the client.`,
		Example: `  tunnel-server                                     # everything by default
  tunnel-server --allow-ports 8000-8099             # which ports clients may publish
  tunnel-server --tls 2 --tls-cert fullchain.pem --tls-key privkey.pem
  tunnel-server key add anna --ports 8000-8099      # a key for one more client
  tunnel-server key show                            # the first key, again
  tunnel-server demo                                # see it work on this machine`,
		RunE: func(c *cobra.Command, _ []string) error { return serve(c, f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.listen, "listen", tunnel.DefaultListen, "address of the tunnel's own port")
	fl.StringVar(&f.bind, "bind", "", "address that public ports bind to (default all; when set, clients cannot choose another)")
	fl.StringVar(&f.allowPorts, "allow-ports", tunnel.DefaultAllowPorts, "public ports that clients may publish, as in 8080,9000-9999")
	fl.StringVar(&f.allowForward, "allow-forward", "", "targets that users of clients may reach with -L, as in db:5432,10.0.0.7:8000-8099,*:22 (default none)")
	fl.StringVar(&f.allowFrom, "allow-from", "", "prefixes from which clients may connect, as in 10.0.0.0/8,2001:db8::/32 (default anywhere)")
	fl.StringVar(&f.trustProxy, "trust-proxy", "", "prefixes of proxies in front of the public ports, as in 10.0.0.0/8; users from there must send a PROXY protocol header, whose address is believed")
	fl.StringVar(&f.tlsMode, "tls", string(pool.TLSSelfSigned), "TLS mode: 0 plain, 1 self-signed, 2 verified certificate")
	fl.StringVar(&f.tlsCert, "tls-cert", "", "certificate chain, PEM file (mode 2)")
	fl.StringVar(&f.tlsKey, "tls-key", "", "private key of the certificate, PEM file (mode 2)")
	fl.StringVar(&f.tlsClientCA, "tls-client-ca", "", "authority of which clients must show a certificate, besides the key, PEM file (mode 2)")
	fl.StringVar(&f.keyFile, "key-file", "", "file with the tunnel's key (default: $TUNNEL_KEY, then 'key' in the state directory)")
	fl.StringVar(&f.stateDir, "state-dir", "", "state directory (default: $STATE_DIRECTORY, /var/lib/tunnelpool for root, else the user's XDG state)")
	fl.IntVar(&f.poolMax, "pool-max", tunnel.DefaultPoolMax, "most idle connections per client")
	fl.DurationVar(&f.heartbeat, "heartbeat", tunnel.DefaultHeartbeat, "time between signs of life; a client silent for three is gone")
	fl.DurationVar(&f.wait, "wait", tunnel.DefaultWait, "how long a user waits for a connection at most")
	fl.DurationVar(&f.linger, "linger", tunnel.DefaultLinger, "how long public ports stay open, and hold their users, when a client is lost; 0: not at all")
	fl.IntVar(&f.maxSessions, "max-sessions", 0, fmt.Sprintf("most clients at the same time (default %d, or what the limit of open files allows)", tunnel.DefaultMaxSessions))
	fl.IntVar(&f.maxStreams, "max-streams", 0, "most users at the same time; more wait for a place (default: what the limit of open files allows)")
	fl.IntVar(&f.maxPerService, "max-streams-per-service", 0, "most users of one service (default: three quarters of --max-streams)")
	fl.IntVar(&f.maxFlows, "max-flows", 0, fmt.Sprintf("most users of one UDP service (default %d, or --max-streams-per-service if that is less)", tunnel.DefaultMaxFlows))
	fl.DurationVar(&f.drain, "drain", tunnel.DefaultDrain, "how long streams may finish when the server is stopped")
	fl.StringVar(&f.logLevel, "log-level", "info", cli.Levels)
	return c
}

func serve(c *cobra.Command, f serveFlags) error {
	log, err := cli.Logger(f.logLevel)
	if err != nil {
		return err
	}
	cfg, err := f.serverConfig()
	if err != nil {
		return err
	}
	if err := cfg.Check(); err != nil {
		return cli.ConfigError(err, flagOf)
	}
	cfg.Logger = log
	// The key comes last: one made by a start that then fails would never be
	// shown.
	if err := listen(&cfg); err != nil {
		return err
	}
	keys, err := loadKeys(f.keyFile, f.stateDir)
	if err != nil {
		cfg.Listener.Close()
		return err
	}
	cfg.Keyring = keys.ring
	server, err := tunnel.NewServer(cfg)
	if err != nil {
		cfg.Listener.Close()
		return cli.ConfigError(err, flagOf)
	}
	greet(c.OutOrStdout(), log, server, keys.own, f)
	if len(keys.file.Entries) > 0 {
		keys.tell(log, "Keys")
	}
	defer slack.Release()()
	following, stop := context.WithCancel(context.WithoutCancel(c.Context())) // while streams finish too
	var tasks sync.WaitGroup
	tasks.Go(func() { keys.follow(following, log) }) // ends with following
	defer tasks.Wait()
	defer stop()
	return server.Run(c.Context())
}

// serverConfig turns flags into a configuration, or says which flag is wrong.
func (f *serveFlags) serverConfig() (tunnel.ServerConfig, error) {
	mode, err := pool.ParseTLSMode(f.tlsMode)
	if err != nil {
		return tunnel.ServerConfig{}, cli.Usagef("--tls: %w", err)
	}
	tlsConfig, err := f.certificate(mode)
	if err != nil {
		return tunnel.ServerConfig{}, cli.Usage(err)
	}
	var from, proxies access.Sources
	if f.allowFrom != "" {
		if from, err = access.ParseSources(f.allowFrom); err != nil {
			return tunnel.ServerConfig{}, cli.Usagef("--allow-from: %w", err)
		}
	}
	if f.trustProxy != "" {
		if proxies, err = access.ParseSources(f.trustProxy); err != nil {
			return tunnel.ServerConfig{}, cli.Usagef("--trust-proxy: %w", err)
		}
	}
	for _, check := range []struct {
		bad  bool
		what string
	}{
		{f.poolMax <= 0, fmt.Sprintf("--pool-max %d: want at least 1", f.poolMax)},
		{f.wait <= 0, fmt.Sprintf("--wait %v: want more than 0", f.wait)},
		{f.linger < 0, fmt.Sprintf("--linger %v: want 0 or more", f.linger)},
		{f.maxSessions < 0, fmt.Sprintf("--max-sessions %d: want 0 or more", f.maxSessions)},
		{f.maxStreams < 0, fmt.Sprintf("--max-streams %d: want 0 or more", f.maxStreams)},
		{f.maxPerService < 0, fmt.Sprintf("--max-streams-per-service %d: want 0 or more", f.maxPerService)},
		{f.maxFlows < 0, fmt.Sprintf("--max-flows %d: want 0 or more", f.maxFlows)},
		{f.drain < 0, fmt.Sprintf("--drain %v: want 0 or more", f.drain)},
		{f.heartbeat <= 0, fmt.Sprintf("--heartbeat %v: want more than 0", f.heartbeat)},
	} {
		if check.bad {
			return tunnel.ServerConfig{}, cli.Usagef("%s", check.what)
		}
	}
	if f.linger == 0 {
		f.linger = -1 // the package's word for none
	}
	if f.drain == 0 {
		f.drain = -1 // the same
	}
	return tunnel.ServerConfig{
		Listen: f.listen, Bind: f.bind, AllowPorts: f.allowPorts, AllowForward: f.allowForward, AllowFrom: from.Prefixes(),
		TLS: mode, TLSConfig: tlsConfig, PoolMax: f.poolMax,
		Heartbeat: f.heartbeat, Wait: f.wait, Linger: f.linger, Drain: f.drain, MaxSessions: f.maxSessions,
		MaxStreams: f.maxStreams, MaxStreamsPerService: f.maxPerService, MaxFlows: f.maxFlows,
		TrustProxy: proxies.Prefixes(),
	}, nil
}

func (f *serveFlags) certificate(mode pool.TLSMode) (*tls.Config, error) {
	switch {
	case f.tlsClientCA != "" && mode != pool.TLSVerified:
		return nil, fmt.Errorf("--tls-client-ca is for --tls 2")
	case (f.tlsCert == "") != (f.tlsKey == ""):
		return nil, fmt.Errorf("--tls-cert and --tls-key go together")
	case f.tlsCert == "" && mode == pool.TLSVerified:
		return nil, fmt.Errorf("--tls 2 needs --tls-cert and --tls-key")
	case f.tlsCert == "":
		return nil, nil
	case mode != pool.TLSVerified:
		return nil, fmt.Errorf("--tls-cert is for --tls 2; with --tls %s nobody would verify it", mode)
	}
	cert, err := tls.LoadX509KeyPair(f.tlsCert, f.tlsKey)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert %s, --tls-key %s: %w", f.tlsCert, f.tlsKey, err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{cert}}
	if f.tlsClientCA != "" {
		if c.ClientCAs, err = cli.Authorities("--tls-client-ca", f.tlsClientCA); err != nil {
			return nil, err
		}
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return c, nil
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
		log.Warn("Others on this machine can read the key: chmod 600 %s", key.Path)
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
	log.Info("tunnel-server %s listens on %s, TLS mode %s, key %v from %s", cli.Version(), server.Addr(), f.tlsMode, key.Key.ID(), from)
	if f.tlsMode == string(pool.TLSPlain) {
		log.Warn("TLS is off: what passes between the two ends can be read and changed on the way")
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
