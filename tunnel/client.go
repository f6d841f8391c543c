package tunnel

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wakeup"
	"github.com/tunnelpool/pool/internal/wire"
)

// ClientConfig configures a [Client]. Zero fields mean the stated defaults.
type ClientConfig struct {
	// Server is the server's HOST or HOST:PORT, default port 10101. Required.
	Server string

	// Services are what to publish, and Forwards what users of this side reach at
	// the server's end. At least one of either.
	Services []Service
	Forwards []Forward

	// Key is what the server must hold too. Required.
	Key pool.Key

	// TLS is the mode, default self-signed. TLSConfig brings roots for
	// TLSVerified, and a certificate for a server that demands one; ServerName is
	// the name to verify, default the host of Server.
	TLS        pool.TLSMode
	TLSConfig  *tls.Config
	ServerName string

	// Name is what the server's log and other clients' errors call this
	// client, at most 64 bytes. Default: the host's name.
	Name string

	// Identity tells this client from others with the same name: when it comes
	// back it takes its ports over from its former self. Keep it across
	// restarts. Zero: a random one, good for this process.
	Identity [16]byte

	// PoolMin and PoolMax bound how many connections are kept ready, default
	// 32 and 512; PoolMinInterval and PoolMaxInterval the time between
	// maintenance passes, default 100 ms and 1 s.
	PoolMin, PoolMax                 int
	PoolMinInterval, PoolMaxInterval time.Duration

	// MaxStreams bounds the users served at the same time; those beyond are
	// reset. Default: what the limit of open files allows, with a quarter kept
	// back. Of pooled connections, idle and in use, there are no more than that
	// default either, or MaxStreams if it is higher: users beyond wait.
	MaxStreams int

	// Carriers is how many connections stand ready that carry many users at once,
	// for those who come while no pooled connection is idle. Default 2; negative:
	// none, so that such users wait for a dial.
	Carriers int

	// KeepAlive is the longest idle time before TCP keep-alive probes, default 30 s.
	KeepAlive time.Duration

	// Heartbeat is the time between signs of life on the control connection,
	// default 5 s; a server silent for three of them is gone.
	Heartbeat time.Duration

	// Drain is how long streams may finish when Run's context ends, default
	// 30 s; negative: not at all.
	Drain time.Duration

	// Dial connects to the server, default net.Dialer's. It must heed ctx, and is
	// called several times at once: for the pool, and after a time-out.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	Logger pool.Logger // default: silent
}

// Defaults of the client's pool, which the command shows in its help.
const (
	DefaultPoolMin         = 32
	DefaultClientPoolMax   = 512
	DefaultPoolMinInterval = 100 * time.Millisecond
	DefaultPoolMaxInterval = time.Second
	DefaultCarriers        = 2
)

// MaxCarriers is the most carriers that a client can have.
const MaxCarriers = 2

// handshakeTimeout bounds dial, TLS, proof and the server's first word.
const handshakeTimeout = 10 * time.Second

// Client is the end next to the services.
type Client struct {
	cfg atomic.Pointer[ClientConfig] // whole; Reconfigure puts another in its place
	log pool.Logger

	streams context.Context // ends when streams must: Close, or the drain limit
	cut     context.CancelFunc
	tasks   sync.WaitGroup // sessions and streams
	active  tally          // streams in progress
	served  atomic.Int64   // of those, the ones with a target

	forwardTrouble seldom // paces what is logged of forwards' users

	numbers *numbering // of the instance; keepConnected's own
	at      place      // where that is known; likewise

	roused  chan struct{}                                                       // buffered: the way to the server may be open again
	crowded seldom                                                              // paces what is logged of users for whom there is no connection
	watch   func(ctx context.Context, local net.Addr, jump time.Duration) error // wakeup's, but in tests
	await   func(ctx context.Context, jump time.Duration) error

	reconfiguring sync.Mutex // held while the configuration changes

	mu       sync.Mutex      // guards what follows
	running  context.Context // Run's; nil before
	stopping bool            // nothing new begins
	services []*clientService
	forwards []*forward          // as the configuration has them, both in its order
	current  *clientSession      // nil while there is none
	changed  chan struct{}       // closed and replaced when one of these changes, or a status does
	abandon  func(*ClientConfig) // ends an attempt to connect that is not for that configuration; nil before the first

	count clientCounters
}

type clientCounters struct {
	streams, refused, unstarted atomic.Uint64
	dropped                     atomic.Uint64
	sent, received              atomic.Int64
	forwarded, retried          atomic.Uint64
	firstByte                   pool.Recorder
	fromUsers, toUsers          atomic.Int64
}

// NewClient checks cfg and opens the addresses of forwards; [Client.Run] connects.
// The error is a [*ConfigError] for a field that cannot work, and wraps a
// [*net.OpError] when an address cannot be opened.
func NewClient(cfg ClientConfig) (*Client, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	c := &Client{log: cfg.Logger, changed: make(chan struct{}), roused: make(chan struct{}, 1),
		watch: wakeup.Watch, await: wakeup.Await}
	c.cfg.Store(&cfg)
	c.renew()
	c.at = cfg.place()
	c.streams, c.cut = context.WithCancel(context.Background())
	if err := cfg.checkPool(); err != nil {
		return nil, err
	}
	if err := c.apply(&cfg); err != nil {
		c.cut()
		return nil, err
	}
	return c, nil
}

// checkPool refuses now what would fail with the first connection.
func (cfg *ClientConfig) checkPool() error {
	p, err := pool.NewClient(cfg.pool(wire.Welcome{PoolMax: wire.MaxPool}, wire.KindPool))
	if err != nil {
		return fmt.Errorf("tunnel: ClientConfig: %w", err)
	}
	p.Close()
	return nil
}

// Check reports what [NewClient] would refuse of cfg, a missing Key apart. It
// is for programs that fetch the key last.
func (cfg ClientConfig) Check() error {
	if cfg.Key.IsZero() {
		cfg.Key = pool.NewKey()
	}
	return cfg.fill()
}

func (cfg *ClientConfig) fill() error {
	if cfg.Server == "" {
		return badField("Server", "empty")
	}
	host, port, err := splitServer(cfg.Server)
	if err != nil {
		return badField("Server", "%w", err)
	}
	cfg.Server = net.JoinHostPort(host, port)
	setDefault(&cfg.ServerName, host)
	if cfg.Key.IsZero() {
		return badField("Key", "empty; a tunnel without a key would be open to everyone")
	}
	if cfg.Name == "" {
		cfg.Name, _ = os.Hostname()
		setDefault(&cfg.Name, "client")
		cfg.Name = cfg.Name[:min(len(cfg.Name), wire.MaxName)]
	}
	if err := wire.CheckName(cfg.Name); err != nil {
		return badField("Name", "%w", err)
	}
	cfg.Services = slices.Clone(cfg.Services)
	cfg.Forwards = slices.Clone(cfg.Forwards)
	if len(cfg.Services)+len(cfg.Forwards) == 0 {
		return badField("Services", "empty, and so are Forwards; there is nothing to do")
	}
	if err := checkServices(cfg.Services); err != nil {
		return err
	}
	if err := checkForwards(cfg.Forwards, cfg.Services); err != nil {
		return err
	}
	if cfg.Identity == [16]byte{} {
		rand.Read(cfg.Identity[:])
	}
	if err := cfg.fillPool(); err != nil {
		return err
	}
	setDefault(&cfg.Carriers, DefaultCarriers)
	if cfg.Carriers > MaxCarriers {
		return badField("Carriers", "%d exceeds %d", cfg.Carriers, MaxCarriers)
	}
	if cfg.MaxStreams < 0 {
		return badField("MaxStreams", "%d is negative", cfg.MaxStreams)
	}
	setDefault(&cfg.MaxStreams, streamLimit(descriptorLimit()))
	setDefault(&cfg.KeepAlive, DefaultKeepAlive)
	setDefault(&cfg.Heartbeat, DefaultHeartbeat)
	setDefault(&cfg.Drain, DefaultDrain)
	if err := checkHeartbeat(cfg.Heartbeat); err != nil {
		return err
	}
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	if cfg.Logger == nil {
		cfg.Logger = silentLogger{}
	}
	return nil
}

func (cfg *ClientConfig) fillPool() error {
	setDefault(&cfg.PoolMax, max(DefaultClientPoolMax, cfg.PoolMin))
	setDefault(&cfg.PoolMin, min(DefaultPoolMin, cfg.PoolMax))
	setDefault(&cfg.PoolMinInterval, DefaultPoolMinInterval)
	setDefault(&cfg.PoolMaxInterval, max(DefaultPoolMaxInterval, cfg.PoolMinInterval))
	switch {
	case cfg.PoolMin < 0, cfg.PoolMax < 0:
		return badField("PoolMin", "it or PoolMax is negative")
	case cfg.PoolMin > cfg.PoolMax:
		return badField("PoolMin", "%d exceeds PoolMax %d", cfg.PoolMin, cfg.PoolMax)
	case cfg.PoolMinInterval < 0, cfg.PoolMaxInterval < 0:
		return badField("PoolMinInterval", "it or PoolMaxInterval is negative")
	case cfg.PoolMinInterval > cfg.PoolMaxInterval:
		return badField("PoolMinInterval", "%v exceeds PoolMaxInterval %v", cfg.PoolMinInterval, cfg.PoolMaxInterval)
	}
	return nil
}

// splitServer takes HOST, HOST:PORT, an IPv6 address, or [IPv6]:PORT.
func splitServer(server string) (host, port string, err error) {
	if net.ParseIP(server) != nil {
		return server, DefaultPort, nil
	}
	host, port, err = net.SplitHostPort(server)
	var ae *net.AddrError
	if errors.As(err, &ae) && ae.Err == "missing port in address" {
		host, port, err = net.SplitHostPort(server + ":" + DefaultPort)
	}
	switch {
	case err != nil, strings.ContainsAny(server, "/ \t\r\n"):
		return "", "", fmt.Errorf("%q is not HOST or HOST:PORT", server)
	case host == "":
		return "", "", fmt.Errorf("%q names no host", server)
	}
	if n, err := net.LookupPort("tcp", port); err != nil || n == 0 {
		return "", "", fmt.Errorf("%q has no usable port", server)
	}
	return host, port, nil
}

// Run connects, publishes, and keeps doing so for ever: whatever fails is
// logged with its remedy and tried again. When ctx ends it drains: the server
// is told, streams finish within Drain and are cut after it. It returns nil
// then, and after Close. Once per Client.
func (c *Client) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(c.streams, stop)() // Close
	if !c.begin(ctx) {
		return errors.New("tunnel: Client.Run was called before")
	}
	c.keepConnected(ctx)
	c.tasks.Wait()
	return nil
}

// begin starts what runs beside the sessions. False: it was done before.
func (c *Client) begin(ctx context.Context) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running != nil {
		return false
	}
	c.running = ctx
	c.tasks.Go(func() { // ends with ctx and the drain
		<-ctx.Done()
		c.stop()
		c.drain()
	})
	for _, f := range c.forwards {
		c.serveForwardLocked(f)
	}
	for _, s := range c.services {
		c.watchTargetLocked(s.target.Load())
	}
	return true
}

// stop begins nothing new: after it nothing is configured anew, and no user comes
// to a forward. Those who are in go on.
func (c *Client) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	for _, f := range c.forwards {
		f.public.Close()
	}
}

// drain lets the streams in progress finish within the limit, and cuts what is
// left.
func (c *Client) drain() {
	defer c.cut()
	drainStreams(c.streams, &c.active, c.cfg.Load().Drain, c.log)
}

// Close ends the client at once; streams are cut. Run returns soon after. It
// may be called at any time, and more than once.
func (c *Client) Close() {
	c.cut()
	c.stop()
}

// Up waits until every service and forward is up, or ctx ends: then with an error that
// names one that is not, and why.
func (c *Client) Up(ctx context.Context) error {
	for {
		c.mu.Lock()
		err, changed := c.missingLocked(), c.changed
		c.mu.Unlock()
		if err == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
	}
}
