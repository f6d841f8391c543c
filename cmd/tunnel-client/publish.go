package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/access"
	"github.com/tunnelpool/pool/internal/cli"
	"github.com/tunnelpool/pool/internal/config"
	"github.com/tunnelpool/pool/internal/slack"
	"github.com/tunnelpool/pool/internal/units"
	"github.com/tunnelpool/pool/tunnel"
)

type publishFlags struct {
	server, name                     string
	reverse, forward                 []string
	allowFrom, udpIdle, group        []string
	rate, maxPerService              []string
	targets                          targetFlags
	tlsMode, tlsCA, tlsName          string
	tlsCert, tlsKey                  string
	keyFile, stateDir                string
	poolMin, poolMax                 int
	carriers, maxStreams             int
	poolMinInterval, poolMaxInterval time.Duration
	keepAlive, heartbeat, drain      time.Duration
	logLevel                         string
}

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
HOST:HOSTPORT is a target of the server's, which its --allow-forward must name.`,
		Example: `  TUNNEL_KEY=… tunnel-client --server example.com -R 8080:3000
  tunnel-client --server example.com --key-file key -R web=8080:3000 -R ssh=2222:22
  tunnel-client --server example.com --key-file key -R 8080:192.168.1.20:80
  tunnel-client --server example.com --key-file key -R 8080:3001,3002 --health http:/healthz
  tunnel-client --server example.com --key-file key -R udp/5353:127.0.0.1:53
  tunnel-client --server example.com --tls 2 --key-file key -R 8080:3000
  tunnel-client --server example.com --key-file key -L 5432:db:5432`,
		RunE: func(c *cobra.Command, _ []string) error { return publish(c, f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.server, "server", "", "the tunnel-server, HOST or HOST:PORT (default port "+tunnel.DefaultPort+")")
	fl.StringArrayVarP(&f.reverse, "reverse", "R", nil, "service to publish, as [NAME=][udp/][BIND:]PORT:[HOST:]HOSTPORT; repeatable")
	fl.StringArrayVarP(&f.forward, "forward", "L", nil, "port here that leads to a target of the server's, as [NAME=][udp/][BIND:]PORT:[HOST:]HOSTPORT; repeatable")
	f.targets.add(fl)
	fl.StringArrayVar(&f.group, "group", nil, "share the public port with the clients of the same key that give this group for it, as [SERVICE=]NAME; repeatable")
	fl.StringArrayVar(&f.allowFrom, "allow-from", nil, "prefixes of the users that are let in, as [SERVICE=]10.0.0.0/8,2001:db8::/32; repeatable (default: anywhere)")
	fl.StringArrayVar(&f.udpIdle, "udp-idle", nil, fmt.Sprintf("how long a user of a UDP service is kept in mind while nothing is sent, as [SERVICE=]DURATION from %v to %v; repeatable (default %v)", tunnel.MinUDPIdle, tunnel.MaxUDPIdle, tunnel.DefaultUDPIdle))
	fl.StringVar(&f.name, "name", "", "this client's name in the server's log (default: the host's name)")
	fl.StringVar(&f.tlsMode, "tls", string(pool.TLSSelfSigned), "TLS mode, as the server's: 0 plain, 1 self-signed, 2 verified certificate")
	fl.StringVar(&f.tlsCA, "tls-ca", "", "roots to verify the server's certificate with, PEM file (mode 2; default: the system's)")
	fl.StringVar(&f.tlsName, "tls-name", "", "name to verify in the certificate (mode 2; default: the host of --server)")
	fl.StringVar(&f.tlsCert, "tls-cert", "", "certificate chain for a server that asks for one, PEM file (mode 2)")
	fl.StringVar(&f.tlsKey, "tls-key", "", "private key of that certificate, PEM file (mode 2)")
	fl.StringVar(&f.keyFile, "key-file", "", "file with the tunnel's key (default: $TUNNEL_KEY, then 'key' in the state directory)")
	fl.StringVar(&f.stateDir, "state-dir", "", "state directory (default: $STATE_DIRECTORY, /var/lib/tunnelpool for root, else the user's XDG state)")
	fl.IntVar(&f.poolMin, "pool-min", tunnel.DefaultPoolMin, "connections kept ready at least")
	fl.IntVar(&f.poolMax, "pool-max", tunnel.DefaultClientPoolMax, "connections kept ready at most")
	fl.DurationVar(&f.poolMinInterval, "pool-min-interval", tunnel.DefaultPoolMinInterval, "shortest time between maintenance passes of the pool")
	fl.DurationVar(&f.poolMaxInterval, "pool-max-interval", tunnel.DefaultPoolMaxInterval, "longest time between maintenance passes of the pool")
	fl.IntVar(&f.carriers, "carriers", tunnel.DefaultCarriers, "connections that carry many users at once, for those who find none of the pool idle; 0: they wait for one")
	fl.IntVar(&f.maxStreams, "max-streams", 0, "most users served at the same time (default: what the limit of open files allows)")
	fl.StringArrayVar(&f.maxPerService, "max-streams-per-service", nil, "most users of a service at the same time, as [SERVICE=]N; more are reset; repeatable")
	fl.StringArrayVar(&f.rate, "rate", nil, "most that passes for all users of a service, each way, as [SERVICE=]50Mbit, in kbit, Mbit, Gbit, KB, MB or GB a second; repeatable")
	fl.DurationVar(&f.keepAlive, "keepalive", tunnel.DefaultKeepAlive, "longest idle time before TCP keep-alive probes")
	fl.DurationVar(&f.heartbeat, "heartbeat", tunnel.DefaultHeartbeat, "time between signs of life; a server silent for three is gone")
	fl.DurationVar(&f.drain, "drain", tunnel.DefaultDrain, "how long streams may finish when the client is stopped")
	fl.StringVar(&f.logLevel, "log-level", "info", cli.Levels)
	return c
}

func publish(c *cobra.Command, f publishFlags) error {
	log, err := cli.Logger(f.logLevel)
	if err != nil {
		return err
	}
	cfg, err := f.clientConfig()
	if err != nil {
		return cli.Usage(err)
	}
	if err := cfg.Check(); err != nil {
		return cli.ConfigError(err, flagOf)
	}
	cfg.Logger = log
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
	var op *net.OpError
	switch {
	case errors.As(err, &op):
		return cli.ListenError("-L", "an address of this machine", op)
	case err != nil:
		return cli.ConfigError(err, flagOf)
	}
	if key.Loose {
		log.Warn("Others on this machine can read the key: chmod 600 %s", key.Path)
	}
	log.Info("tunnel-client %s, server %s, TLS mode %s, key %v", cli.Version(), f.server, f.tlsMode, key.Key.ID())
	defer slack.Release()()
	return client.Run(c.Context())
}

// flagOf names the flag that sets a field of the configuration.
var flagOf = map[string]string{
	"Server": "--server", "Services": "-R", "Forwards": "-L", "Name": "--name", "Key": "--key-file", "Heartbeat": "--heartbeat",
	"MaxStreams": "--max-streams",
}

// clientConfig turns flags into a configuration, or says which flag is wrong.
func (f *publishFlags) clientConfig() (tunnel.ClientConfig, error) {
	var cfg tunnel.ClientConfig
	if f.server == "" {
		return cfg, fmt.Errorf("--server is missing: give the tunnel-server's HOST or HOST:PORT")
	}
	services, err := f.services()
	if err != nil {
		return cfg, err
	}
	forwards, err := f.forwards()
	if err != nil {
		return cfg, err
	}
	if len(services)+len(forwards) == 0 {
		return cfg, fmt.Errorf("nothing to publish: give at least one -R, as in -R 8080:3000, or -L")
	}
	mode, err := pool.ParseTLSMode(f.tlsMode)
	if err != nil {
		return cfg, fmt.Errorf("--tls: %w", err)
	}
	tlsConfig, err := f.tlsConfig(mode)
	if err != nil {
		return cfg, err
	}
	if err := f.checkNumbers(); err != nil {
		return cfg, err
	}
	if f.drain == 0 {
		f.drain = -1 // the package's word for none
	}
	if f.carriers == 0 {
		f.carriers = -1 // likewise
	}
	return tunnel.ClientConfig{
		Server: f.server, Services: services, Forwards: forwards, Name: f.name,
		TLS: mode, TLSConfig: tlsConfig, ServerName: f.tlsName,
		PoolMin: f.poolMin, PoolMax: f.poolMax, Carriers: f.carriers,
		PoolMinInterval: f.poolMinInterval, PoolMaxInterval: f.poolMaxInterval,
		MaxStreams: f.maxStreams, KeepAlive: f.keepAlive, Heartbeat: f.heartbeat, Drain: f.drain,
	}, nil
}

// services reads every -R. Two on one public port cannot both come up.
func (f *publishFlags) services() ([]tunnel.Service, error) {
	var services []tunnel.Service
	for _, r := range f.reverse {
		s, err := config.ParseReverse(r)
		if err != nil {
			return nil, err
		}
		for _, other := range services {
			if s.Port != 0 && s.Port == other.Port && s.Network == other.Network && (s.Bind == other.Bind || s.Bind == "" || other.Bind == "") {
				return nil, fmt.Errorf("-R %q: public port %d is given twice", r, s.Port)
			}
		}
		services = append(services, s)
	}
	return services, f.perService(services)
}

// forwards reads every -L.
func (f *publishFlags) forwards() ([]tunnel.Forward, error) {
	var forwards []tunnel.Forward
	for _, l := range f.forward {
		forward, err := config.ParseForward(l)
		if err != nil {
			return nil, err
		}
		forwards = append(forwards, forward)
	}
	return forwards, nil
}

// maxRateText is longer than any rate, and shorter than a key: no error shows a
// part of one.
const maxRateText = 20

// perService applies what is given as [SERVICE=]VALUE.
func (f *publishFlags) perService(services []tunnel.Service) error {
	return cmp.Or(
		config.PerService("--group", f.group, services, func(s *tunnel.Service, name string) error {
			if name == "" {
				return errors.New("the name is missing")
			}
			s.Group = name
			return nil
		}),
		config.PerService("--rate", f.rate, services, func(s *tunnel.Service, rate string) (err error) {
			if len(rate) > maxRateText {
				return errors.New("want a number and a unit, for example 50Mbit")
			}
			s.Rate, err = units.ParseRate(rate)
			if err == nil && s.Rate < tunnel.MinRate {
				err = fmt.Errorf("too little; want %s at least", units.FormatRate(tunnel.MinRate))
			}
			return err
		}),
		config.PerService("--max-streams-per-service", f.maxPerService, services, func(s *tunnel.Service, most string) error {
			n, err := strconv.ParseInt(most, 10, 32)
			if err != nil || n < 1 {
				return errors.New("want a number, 1 at least")
			}
			s.MaxStreams = int(n)
			return nil
		}),
		config.PerService("--allow-from", f.allowFrom, services, func(s *tunnel.Service, value string) error {
			from, err := access.ParseSources(value)
			s.AllowFrom = from.Prefixes()
			return err
		}),
		config.UDPIdle(f.udpIdle, services),
		f.targets.apply(services),
	)
}

func (f *publishFlags) checkNumbers() error {
	switch {
	case f.poolMin <= 0:
		return fmt.Errorf("--pool-min %d: want at least 1", f.poolMin)
	case f.poolMax < f.poolMin:
		return fmt.Errorf("--pool-max %d is below --pool-min %d", f.poolMax, f.poolMin)
	case f.carriers < 0 || f.carriers > tunnel.MaxCarriers:
		return fmt.Errorf("--carriers %d: want 0 to %d", f.carriers, tunnel.MaxCarriers)
	case f.poolMinInterval <= 0:
		return fmt.Errorf("--pool-min-interval %v: want more than 0", f.poolMinInterval)
	case f.poolMaxInterval < f.poolMinInterval:
		return fmt.Errorf("--pool-max-interval %v is below --pool-min-interval %v", f.poolMaxInterval, f.poolMinInterval)
	case f.keepAlive <= 0:
		return fmt.Errorf("--keepalive %v: want more than 0", f.keepAlive)
	case f.heartbeat <= 0:
		return fmt.Errorf("--heartbeat %v: want more than 0", f.heartbeat)
	case f.drain < 0:
		return fmt.Errorf("--drain %v: want 0 or more", f.drain)
	}
	return nil
}

// tlsConfig is what TLS mode 2 verifies the server with, and shows to it.
func (f *publishFlags) tlsConfig(mode pool.TLSMode) (*tls.Config, error) {
	switch {
	case mode != pool.TLSVerified && (f.tlsCA != "" || f.tlsName != ""):
		return nil, fmt.Errorf("--tls-ca and --tls-name are for --tls 2; with --tls %s nothing is verified", mode)
	case (f.tlsCert == "") != (f.tlsKey == ""):
		return nil, fmt.Errorf("--tls-cert and --tls-key go together")
	case mode != pool.TLSVerified && f.tlsCert != "":
		return nil, fmt.Errorf("--tls-cert is for --tls 2; with --tls %s nobody asks for it", mode)
	}
	var c tls.Config
	if f.tlsCA != "" {
		roots, err := cli.Authorities("--tls-ca", f.tlsCA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = roots
	}
	if f.tlsCert != "" {
		cert, err := tls.LoadX509KeyPair(f.tlsCert, f.tlsKey)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert %s, --tls-key %s: %w", f.tlsCert, f.tlsKey, err)
		}
		// Shown whatever authorities the server names, so that it is the server
		// who says what is wrong with it.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	return &c, nil
}
