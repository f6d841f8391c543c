package main

import (
	"crypto/tls"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/admin"
	"github.com/tunnelpool/pool/internal/certs"
	"github.com/tunnelpool/pool/internal/cli"
	"github.com/tunnelpool/pool/internal/logging"
	"github.com/tunnelpool/pool/internal/settings"
	"github.com/tunnelpool/pool/tunnel"
)

// publishFlags are the settings of the client.
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
	logLevel, logFormat              string
	admin                            admin.Settings

	certs *certs.Store // what the flags of TLS name, once clientConfig has read it
}

// add defines the flags, with their defaults.
func (f *publishFlags) add(fl *pflag.FlagSet) {
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
	fl.StringVar(&f.admin.Address, "admin", "", "address of the status page and metrics, as in 127.0.0.1:10103; nobody is asked for a password there (default: none)")
	fl.BoolVar(&f.admin.Profiles, "pprof", false, "serve Go's profiles under /debug/pprof/ of --admin")
	fl.StringVar(&f.logLevel, "log-level", "info", cli.Levels)
	fl.StringVar(&f.logFormat, "log-format", logging.Text, cli.Formats+": lines for people, or one object per event")
	settings.Files(fl, "tls-ca", "tls-cert", "tls-key", "key-file")
	settings.Directories(fl, "state-dir")
	settings.CommaList(fl, "reverse", "allow-from")
}

// flagOf names the flag that sets a field of the configuration.
var flagOf = map[string]string{
	"Server": "--server", "Services": "-R", "Forwards": "-L", "Name": "--name", "Key": "--key-file", "Heartbeat": "--heartbeat",
	"MaxStreams": "--max-streams",
}

// clientConfig turns flags into a configuration that has been checked, or says
// which flag is wrong. It has no key, identity and logger yet.
func (f *publishFlags) clientConfig() (tunnel.ClientConfig, error) {
	var cfg tunnel.ClientConfig
	if f.server == "" {
		return cfg, cli.Usagef("--server is missing: give the tunnel-server's HOST or HOST:PORT")
	}
	services, err := f.services()
	if err != nil {
		return cfg, cli.Usage(err)
	}
	forwards, err := f.forwards()
	if err != nil {
		return cfg, cli.Usage(err)
	}
	if len(services)+len(forwards) == 0 {
		return cfg, cli.Usagef("nothing to publish: give at least one -R, as in -R 8080:3000, or -L")
	}
	mode, err := pool.ParseTLSMode(f.tlsMode)
	if err != nil {
		return cfg, cli.Usagef("--tls: %w", err)
	}
	tlsConfig, err := f.tlsConfig(mode)
	if err != nil {
		return cfg, cli.Usage(err)
	}
	if err := f.checkNumbers(); err != nil {
		return cfg, cli.Usage(err)
	}
	if err := f.admin.Check(); err != nil {
		return cfg, cli.Usage(err)
	}
	cfg = tunnel.ClientConfig{
		Server: f.server, Services: services, Forwards: forwards, Name: f.name,
		TLS: mode, TLSConfig: tlsConfig, ServerName: f.tlsName,
		PoolMin: f.poolMin, PoolMax: f.poolMax, Carriers: orNone(f.carriers),
		PoolMinInterval: f.poolMinInterval, PoolMaxInterval: f.poolMaxInterval,
		MaxStreams: f.maxStreams, KeepAlive: f.keepAlive, Heartbeat: f.heartbeat, Drain: orNone(f.drain),
	}
	return cfg, cli.ConfigError(cfg.Check(), flagOf)
}

// orNone turns a value that may be 0 into the package's word: 0 is its default,
// and less is none.
func orNone[T int | time.Duration](v T) T {
	if v == 0 {
		return -1
	}
	return v
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
	set, err := certs.Load(certs.Files{Cert: f.tlsCert, Key: f.tlsKey, Authorities: f.tlsCA, Flag: "--tls-ca"})
	if err != nil {
		return nil, err
	}
	f.certs = certs.NewStore(set)
	return f.certs.Client(), nil
}
