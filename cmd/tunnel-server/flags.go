package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/spf13/pflag"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/access"
	"github.com/tunnelpool/pool/internal/admin"
	"github.com/tunnelpool/pool/internal/certs"
	"github.com/tunnelpool/pool/internal/cli"
	"github.com/tunnelpool/pool/internal/logging"
	"github.com/tunnelpool/pool/internal/settings"
	"github.com/tunnelpool/pool/tunnel"
)

// serveFlags are the settings of the server.
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
	logLevel, logFormat      string
	admin                    admin.Settings

	certs *certs.Store // what the flags of TLS name, once serverConfig has read it
}

// add defines the flags, with their defaults.
func (f *serveFlags) add(fl *pflag.FlagSet) {
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
	fl.StringVar(&f.admin.Address, "admin", "", "address of the status page and metrics, as in 127.0.0.1:10102; nobody is asked for a password there (default: none)")
	fl.BoolVar(&f.admin.Profiles, "pprof", false, "serve Go's profiles under /debug/pprof/ of --admin")
	fl.StringVar(&f.logLevel, "log-level", "info", cli.Levels)
	fl.StringVar(&f.logFormat, "log-format", logging.Text, cli.Formats+": lines for people, or one object per event")
	settings.Files(fl, "tls-cert", "tls-key", "tls-client-ca", "key-file")
	settings.Directories(fl, "state-dir")
	settings.CommaList(fl, "allow-ports", "allow-forward", "allow-from", "trust-proxy")
}

// serverConfig turns flags into a configuration that has been checked, or says
// which flag is wrong. It has no listener, keys and logger yet.
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
		{!isListenAddress(f.listen), fmt.Sprintf("--listen %q: want %s", f.listen, listenForm)},
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
	if err := f.admin.Check(); err != nil {
		return tunnel.ServerConfig{}, cli.Usage(err)
	}
	cfg := tunnel.ServerConfig{
		Listen: f.listen, Bind: f.bind, AllowPorts: f.allowPorts, AllowForward: f.allowForward, AllowFrom: from.Prefixes(),
		TLS: mode, TLSConfig: tlsConfig, PoolMax: f.poolMax,
		Heartbeat: f.heartbeat, Wait: f.wait, Linger: orNone(f.linger), Drain: orNone(f.drain), MaxSessions: f.maxSessions,
		MaxStreams: f.maxStreams, MaxStreamsPerService: f.maxPerService, MaxFlows: f.maxFlows,
		TrustProxy: proxies.Prefixes(),
	}
	return cfg, cli.ConfigError(cfg.Check(), flagOf)
}

// listenForm is what --listen takes.
const listenForm = "[ADDRESS]:PORT, as in :10101"

// isListenAddress looks at the form only: a name is looked up when it is opened.
func isListenAddress(address string) bool {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	return err == nil
}

// orNone turns a time that may be 0 into the package's word: 0 is its default,
// and less is none.
func orNone(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// certificate reads what TLS mode 2 shows to clients, and demands of them.
func (f *serveFlags) certificate(mode pool.TLSMode) (*tls.Config, error) {
	switch {
	case f.tlsClientCA != "" && mode != pool.TLSVerified:
		return nil, fmt.Errorf("--tls-client-ca is for --tls 2")
	case (f.tlsCert == "") != (f.tlsKey == ""):
		return nil, fmt.Errorf("--tls-cert and --tls-key go together")
	case f.tlsCert == "" && mode == pool.TLSVerified:
		return nil, fmt.Errorf("--tls 2 needs --tls-cert and --tls-key")
	case f.tlsCert != "" && mode != pool.TLSVerified:
		return nil, fmt.Errorf("--tls-cert is for --tls 2; with --tls %s nobody would verify it", mode)
	}
	set, err := certs.Load(certs.Files{Cert: f.tlsCert, Key: f.tlsKey, Authorities: f.tlsClientCA, Flag: "--tls-client-ca"})
	if err != nil {
		return nil, err
	}
	f.certs = certs.NewStore(set)
	if set.Empty() {
		return nil, nil
	}
	return f.certs.Server(), nil
}

// flagOf names the flag that sets a field of the configuration.
var flagOf = map[string]string{
	"Listen": "--listen", "TLS": "--tls", "TLSConfig": "--tls",
	"Bind": "--bind", "AllowPorts": "--allow-ports", "AllowForward": "--allow-forward", "AllowFrom": "--allow-from", "PoolMax": "--pool-max",
	"Heartbeat": "--heartbeat", "Wait": "--wait", "Keys": "--key-file", "MaxSessions": "--max-sessions", "MaxStreams": "--max-streams", "MaxStreamsPerService": "--max-streams-per-service", "MaxFlows": "--max-flows",
}
