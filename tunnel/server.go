package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/access"
	"github.com/tunnelpool/pool/internal/wire"
)

// ServerConfig configures a [Server]. Zero fields mean the stated defaults.
type ServerConfig struct {
	// Listen is the address of the tunnel's own port, default ":10101".
	// Listener, when set, is used instead and belongs to the server.
	Listen   string
	Listener net.Listener

	// Inherited are listening TCP sockets, for instance from systemd, that are
	// used for services on their addresses instead of opening the port. They
	// belong to the server and stay open until Run is over or Close is called, so
	// that users wait while no service is up there.
	Inherited []net.Listener

	// Bind is the address that public ports bind to, default all addresses.
	// When set, a client cannot choose another.
	Bind string

	// AllowPorts names the public ports that clients may ask for, as in
	// "8080,9000-9999". Default "1024-65535". The tunnel's own port is never
	// among them.
	AllowPorts string

	// AllowForward names the targets that this server dials for users of its
	// clients, as HOST:PORT separated by commas: "db:5432,10.0.0.7:8000-8099,*:22".
	// Names are compared as they are written. Default: none.
	AllowForward string

	// AllowFrom are the prefixes from which clients may connect to the tunnel's
	// own port; others are closed before TLS. An IPv4 address in the IPv4-mapped
	// IPv6 form counts as IPv4. Default: from anywhere. Users are not concerned,
	// see [Service.AllowFrom].
	AllowFrom []netip.Prefix

	// TrustProxy are the prefixes of proxies in front of the public ports, whose
	// word for a user's address is taken. Who comes from there must send a header
	// of the PROXY protocol, version 1 or 2, within 5 s, or is reset; what others
	// send is the user's own. Default: nobody.
	TrustProxy []netip.Prefix

	// TLS is the mode, default self-signed. TLSConfig brings a certificate,
	// which TLSVerified requires. With its ClientAuth and ClientCAs clients must
	// show a certificate too, besides the key.
	TLS       pool.TLSMode
	TLSConfig *tls.Config

	// Keys are the keys whose holders may join. At least one, unless there is a
	// Keyring, which takes their place: its keys have names and rights, and come
	// and go while the server runs.
	Keys    []pool.Key
	Keyring *Keyring

	// PoolMax bounds the idle connections per client, default 1,024.
	PoolMax int

	// Heartbeat is the time between signs of life on a control connection,
	// default 5 s; a client silent for three of them is gone.
	Heartbeat time.Duration

	// Wait is how long a user waits for a connection at most, default 10 s.
	Wait time.Duration

	// Linger is how long the public ports of a client stay open after its
	// connection was lost. Their users are held meanwhile, each up to Wait. A
	// client that stops in order says so, and its ports close at once. Default
	// 60 s; negative: not at all.
	Linger time.Duration

	// MaxSessions bounds the clients connected at the same time, default 4,096 or
	// what the limit of open files allows. Where there are several keys, the
	// clients of one have half of it at most, and of MaxStreams and MaxPooled.
	MaxSessions int

	// MaxStreams bounds the users being served or waiting, and
	// MaxStreamsPerService those of one service. Users beyond wait for a place in
	// order, up to Wait. The defaults are what the limit of open files allows,
	// with a quarter kept back so that clients can join and control connections
	// live when users have taken the rest; and three quarters of MaxStreams.
	MaxStreams, MaxStreamsPerService int

	// MaxFlows bounds the users of one UDP service, which are addresses that
	// anybody may claim to have. Where there are as many, those go who have been
	// silent for 5 s, and who cannot come in is lost. Default 1,024, or
	// MaxStreamsPerService if that is less.
	MaxFlows int

	// MaxPooled bounds the pooled connections, idle and in use, of all clients
	// together. Default: as many as MaxStreams has by default.
	MaxPooled int

	// Drain is how long streams may finish when Run's context ends, default
	// 30 s; negative: not at all.
	Drain time.Duration

	// KeepAlive is the longest idle time before TCP keep-alive probes, default 30 s.
	KeepAlive time.Duration

	// HandshakeTimeout is the deadline for TLS, proof and ID, default 10 s.
	HandshakeTimeout time.Duration

	Logger pool.Logger // default: silent
}

// Defaults of both ends, which the commands show in their help.
const (
	DefaultListen      = ":10101"
	DefaultPort        = "10101"
	DefaultAllowPorts  = "1024-65535"
	DefaultPoolMax     = 1024
	DefaultMaxSessions = 4096
	DefaultMaxFlows    = 1024
	DefaultHeartbeat   = 5 * time.Second
	DefaultWait        = 10 * time.Second
	DefaultLinger      = time.Minute
	DefaultDrain       = 30 * time.Second
	DefaultKeepAlive   = 30 * time.Second
)

// Server is the public end of tunnels: many clients, each with many services.
type Server struct {
	cfg      atomic.Pointer[settings] // Reconfigure puts others in their place
	listener net.Listener
	door     *pool.Acceptor
	log      pool.Logger

	lent sync.Map // of cfg.Inherited, those that a service has

	streams  context.Context // ends when streams must: Close, or the drain limit
	cut      context.CancelFunc
	tasks    sync.WaitGroup // sessions and their users
	active   tally          // users being served
	users    *crowd         // those and who may become one
	crowded  seldom         // paces what is logged of users without a place
	strange  seldom         // and of users from elsewhere
	proxies  proxies        // in front of public ports
	pools    pooledBudget   // connections
	keyring  *Keyring
	maxPorts int // public ports

	reconfiguring sync.Mutex // held while the configuration changes

	opening  sync.Mutex // held while a public port is bound, or whether it could be is tried
	grouping sync.Mutex // held while a client of a group looks for its port and opens it

	mu         sync.Mutex // guards what follows
	sessions   map[[wire.SessionSize]byte]*serverSession
	late       map[[wire.SessionSize]byte]lateSession // ended a moment ago
	publishers map[member]*publisher                  // clients, those away included
	holders    map[pool.KeyID]*holder                 // keys of clients that have joined
	running    bool
	draining   bool

	count serverCounters
}

type serverCounters struct {
	streams, carried, timeouts, overflowed, elsewhere, noAck atomic.Uint64
	dropped                                                  atomic.Uint64
	firstByte                                                pool.Recorder

	asked, replays, forwarded atomic.Uint64
	sent, received            atomic.Int64
}

// NewServer checks cfg and binds the tunnel's port; [Server.Run] serves. The
// error is a [*ConfigError] for a field that cannot work, and wraps a
// [*net.OpError] when the port cannot be bound.
func NewServer(cfg ServerConfig) (*Server, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	now, err := cfg.settings()
	if err != nil {
		return nil, err // fill saw to it
	}
	s := &Server{log: cfg.Logger, keyring: cfg.Keyring,
		publishers: make(map[member]*publisher), holders: make(map[pool.KeyID]*holder),
		sessions: make(map[[wire.SessionSize]byte]*serverSession),
		late:     make(map[[wire.SessionSize]byte]lateSession)}
	s.cfg.Store(now)
	s.door, err = pool.NewAcceptor(pool.AcceptConfig{
		TLS: cfg.TLS, TLSConfig: cfg.TLSConfig, Keys: s.keyOf, AllowFrom: cfg.AllowFrom,
		MaxHandshakes: handshakeLimit(descriptorLimit()),
		KeepAlive:     cfg.KeepAlive, HandshakeTimeout: cfg.HandshakeTimeout, Logger: cfg.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("tunnel: ServerConfig: %w", err)
	}
	s.listener = cfg.Listener
	if s.listener == nil {
		// The front door sets keep-alive, for whom it lets in.
		unset := net.ListenConfig{KeepAlive: -1}
		if s.listener, err = unset.Listen(context.Background(), "tcp", cfg.Listen); err != nil {
			return nil, fmt.Errorf("tunnel: %w", err)
		}
	}
	s.users = newCrowd(cfg.MaxStreams, cfg.Wait)
	s.pools.limit.Store(int64(cfg.MaxPooled))
	s.proxies.wait = headerWait
	s.maxPorts = portLimit(descriptorLimit())
	s.streams, s.cut = context.WithCancel(context.Background())
	return s, nil
}

// Check reports what [NewServer] would refuse of cfg, missing Keys apart, and
// binds nothing. It is for programs that make or fetch the key last.
func (cfg ServerConfig) Check() error {
	if len(cfg.Keys) == 0 && cfg.Keyring == nil {
		cfg.Keys = []pool.Key{pool.NewKey()}
	}
	return cfg.fill()
}

func (cfg *ServerConfig) fill() error {
	if err := cfg.fillKeyring(); err != nil {
		return err
	}
	if cfg.Bind != "" && net.ParseIP(cfg.Bind) == nil {
		return badField("Bind", "%q is not an IP address", cfg.Bind)
	}
	if cfg.PoolMax < 0 || cfg.PoolMax > wire.MaxPool {
		return badField("PoolMax", "%d is not between 1 and %d", cfg.PoolMax, wire.MaxPool)
	}
	if _, err := access.NewSources(cfg.AllowFrom); err != nil {
		return badField("AllowFrom", "%w", err)
	}
	if _, err := access.NewSources(cfg.TrustProxy); err != nil {
		return badField("TrustProxy", "%w", err)
	}
	setDefault(&cfg.Listen, DefaultListen)
	setDefault(&cfg.AllowPorts, DefaultAllowPorts)
	if _, err := access.ParsePorts(cfg.AllowPorts); err != nil {
		return badField("AllowPorts", "%w", err)
	}
	if cfg.AllowForward != "" {
		if _, err := access.ParseForwards(cfg.AllowForward); err != nil {
			return badField("AllowForward", "%w", err)
		}
	}
	setDefault(&cfg.PoolMax, DefaultPoolMax)
	setDefault(&cfg.Heartbeat, DefaultHeartbeat)
	setDefault(&cfg.Wait, DefaultWait)
	setDefault(&cfg.Linger, DefaultLinger)
	setDefault(&cfg.MaxSessions, min(DefaultMaxSessions, portLimit(descriptorLimit())))
	setDefault(&cfg.Drain, DefaultDrain)
	setDefault(&cfg.KeepAlive, DefaultKeepAlive)
	if err := checkHeartbeat(cfg.Heartbeat); err != nil {
		return err
	}
	if cfg.Wait < 0 {
		return badField("Wait", "%v is negative", cfg.Wait)
	}
	setDefault(&cfg.MaxStreams, streamLimit(descriptorLimit()))
	setDefault(&cfg.MaxStreamsPerService, max(cfg.MaxStreams/4*3, 1))
	setDefault(&cfg.MaxFlows, min(DefaultMaxFlows, cfg.MaxStreamsPerService))
	setDefault(&cfg.MaxPooled, streamLimit(descriptorLimit()))
	switch {
	case cfg.MaxPooled < 0:
		return badField("MaxPooled", "%d is negative", cfg.MaxPooled)
	case cfg.MaxSessions < 0:
		return badField("MaxSessions", "%d is negative", cfg.MaxSessions)
	case cfg.MaxStreams < 0:
		return badField("MaxStreams", "%d is negative", cfg.MaxStreams)
	case cfg.MaxFlows < 0:
		return badField("MaxFlows", "%d is negative", cfg.MaxFlows)
	case cfg.MaxStreamsPerService < 0:
		return badField("MaxStreamsPerService", "%d is negative", cfg.MaxStreamsPerService)
	}
	if cfg.Logger == nil {
		cfg.Logger = silentLogger{}
	}
	return nil
}

func (cfg *ServerConfig) fillKeyring() (err error) {
	switch {
	case cfg.Keyring != nil && len(cfg.Keys) > 0:
		return badField("Keys", "there is a Keyring too; put them on it")
	case cfg.Keyring != nil:
		return nil
	case len(cfg.Keys) == 0:
		return badField("Keys", "empty; a tunnel without a key would be open to everyone")
	}
	for _, k := range cfg.Keys {
		if k.IsZero() {
			return badField("Keys", "one of them is empty")
		}
	}
	cfg.Keyring, err = keyringOf(cfg.Keys)
	return err
}

// Addr is the address of the tunnel's own port.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx ends, then drains: public ports close, clients are told,
// streams finish within Drain and are cut after it. It returns nil then, and
// after Close; an error only if the port cannot be served. Once per Server.
func (s *Server) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.running {
		s.mu.Unlock()
		return errors.New("tunnel: Server.Run was called before")
	}
	s.running = true
	s.mu.Unlock()
	s.tasks.Go(s.followKeyring) // ends with the streams
	accepting, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(s.streams, stop)() // Close
	err := s.door.Serve(accepting, s.listener, s.welcome)
	s.drain()
	s.cut()
	s.endSessions()
	s.tasks.Wait()
	s.closeInherited()
	return err
}

// Close ends the server at once; streams are cut. Run returns soon after. It
// may be called at any time, and more than once.
func (s *Server) Close() error {
	s.cut()
	s.closeInherited()
	return s.listener.Close()
}

// drain tells the clients and lets streams finish within the limit.
func (s *Server) drain() {
	sessions := s.stopSessions()
	for _, c := range sessions {
		c.stop() // first: a port that is being opened meanwhile finds the session over
	}
	s.withdrawAll()
	for _, c := range sessions {
		c.sayGoodbye(goingAway)
	}
	drainStreams(s.streams, &s.active, s.cfg.Load().Drain, s.log)
}

var goingAway = wire.GoAway{Code: wire.Shutdown, Text: "the server is stopping"}

// stopSessions forbids new sessions and returns those there are.
func (s *Server) stopSessions() []*serverSession {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	return s.allSessions()
}

// allSessions returns the sessions there are, for use without the lock.
func (s *Server) allSessions() []*serverSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*serverSession, 0, len(s.sessions))
	for _, c := range s.sessions {
		all = append(all, c)
	}
	return all
}

// endSessions ends what is left of them.
func (s *Server) endSessions() {
	for _, c := range s.stopSessions() {
		c.sayGoodbye(goingAway)
		s.tasks.Go(func() { c.link.Finish(farewellLimit) }) // ends within farewellLimit
	}
}
