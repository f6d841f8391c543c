package tunnel

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
)

// reconfigure changes a server's configuration.
func (h *host) reconfigure(t *testing.T, change func(*ServerConfig)) {
	t.Helper()
	cfg := h.given()
	change(&cfg)
	restart, err := h.Reconfigure(cfg)
	require.NoError(t, err)
	require.Empty(t, restart)
}

// given is the configuration as the server was given it.
func (h *host) given() ServerConfig {
	cfg := h.cfg.Load().ServerConfig
	if len(cfg.Keys) > 0 {
		cfg.Keyring = nil // made of them
	}
	return cfg
}

// TestReconfigureAllowPorts: ports that are not allowed any more close, while their
// users go on; what was denied comes up when it is allowed.
func TestReconfigureAllowPorts(t *testing.T) {
	first, second, third := freePort(t), freePort(t), freePort(t)
	h := startServer(t, pool.TLSSelfSigned, func(cfg *ServerConfig) {
		cfg.AllowPorts = fmt.Sprintf("%d,%d", first, third)
	})
	target := startTarget(t, echo)
	cfg := h.clientConfig(target)
	cfg.Services = []Service{{Name: "one", Port: first, Target: target}, {Name: "two", Port: second, Target: target}}
	g := runClient(t, cfg)
	g.log.find(t, `Service "two" is not up`)
	eventually(t, func() bool { return g.Services()[0].Up }, g.log.text)
	bystander := startClient(t, h, target, func(cfg *ClientConfig) {
		cfg.Name, cfg.Services = "bystander", []Service{{Port: third, Target: target}}
	})
	users := startTalkers(t, 10, func(i int) string { return []string{g.public(0), bystander.public(0)}[i%2] })
	public := g.public(0)

	h.reconfigure(t, func(cfg *ServerConfig) { cfg.AllowPorts = fmt.Sprintf("%d,%d", second, third) })
	_, err := net.DialTimeout("tcp", public, patience)
	require.Error(t, err, "the port closes at once")
	eventually(t, func() bool { return g.Services()[1].Up && !g.Services()[0].Up }, g.log.text)
	require.Contains(t, g.Services()[0].Reason, fmt.Sprintf("port %d is not among those of the server's --allow-ports (%d,%d)", first, second, third))
	users.more(t)
	c := dialUser(t, g.public(1))
	send(t, c, "in")
	receive(t, c, "in")

	h.reconfigure(t, func(cfg *ServerConfig) {
		cfg.AllowPorts = fmt.Sprintf("%d-%d", min(first, second, third), max(first, second, third))
	})
	works(t, g.up(t))
	users.more(t)
	users.finish()
	works(t, bystander)
	require.Equal(t, 1, h.log.count(`"bystander" at 127.0.0.1`)-h.log.count(`"bystander" at 127.0.0.1 left`), "it is not concerned")
	require.Equal(t, 2, h.log.count("is asked to join again: what the server allows has changed"))
}

// TestReconfigureAllowForward: forwards are granted and taken back likewise.
func TestReconfigureAllowForward(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	target := startTarget(t, echo)
	cfg := h.clientConfig(target)
	cfg.Services, cfg.Forwards = nil, []Forward{{Name: "there", Listen: "127.0.0.1:0", Target: target}}
	g := runClient(t, cfg)
	g.log.find(t, `Forward "there" is not up`)
	h.reconfigure(t, func(cfg *ServerConfig) { cfg.AllowForward = target })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, g.Up(ctx), g.log.text())
	user := dialUser(t, g.Forwards()[0].Addr)
	send(t, user, "in")
	receive(t, user, "in")

	h.reconfigure(t, func(cfg *ServerConfig) { cfg.AllowForward = "" })
	eventually(t, func() bool { return g.Stats().Connected && !g.Forwards()[0].Up && g.log.count("is not up") == 2 }, g.log.text)
	send(t, user, "still")
	receive(t, user, "still")
	turnsAway(t, g.Forwards()[0].Addr)
}

// TestReconfigureAllowFrom: clients from elsewhere are let go and do not come back
// until they may.
func TestReconfigureAllowFrom(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	g := startClient(t, h, startTarget(t, echo))
	user := g.dial(t)
	send(t, user, "in")
	receive(t, user, "in")
	h.reconfigure(t, func(cfg *ServerConfig) { cfg.AllowFrom = prefixes(t, "192.0.2.0/24") })
	require.Empty(t, h.Stats().Services)
	eventually(t, func() bool { return h.Stats().Sessions == 0 && h.Stats().Door.Rejected[pool.RejectAddress] > 0 }, h.log.text)
	send(t, user, "still")
	receive(t, user, "still")
	h.reconfigure(t, func(cfg *ServerConfig) { cfg.AllowFrom = nil })
	works(t, g.up(t))
}

// TestReconfigureAllowFromDuringHandshake: who was let in at the door just before the
// prefixes changed gets no session after it.
func TestReconfigureAllowFromDuringHandshake(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	conn := dialUser(t, h.addr())
	eventually(t, func() bool { return h.Stats().Door.InFlight == 1 }, h.log.text)
	h.reconfigure(t, func(cfg *ServerConfig) { cfg.AllowFrom = prefixes(t, "192.0.2.0/24") })
	sec := pool.Security{TLS: pool.TLSPlain, Key: h.key, Kind: wire.KindControl, Hello: wire.AppendJoin(nil, wire.Join{Name: "late"})}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	on, err := sec.Secure(ctx, conn)
	require.NoError(t, err)
	m, err := wire.ReadMessage(on, nil)
	require.NoError(t, err)
	require.IsType(t, wire.Deny{}, m)
	require.Contains(t, m.(wire.Deny).Text, "--allow-from")
	require.Zero(t, h.Stats().Sessions)
}

// TestReconfigureLimits: more places let those in who wait for one, fewer turn away
// who comes, and nobody who is in.
func TestReconfigureLimits(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) {
		cfg.MaxStreams, cfg.MaxStreamsPerService = 10, 1
	})
	g := startClient(t, h, startTarget(t, echo))
	in := func() net.Conn {
		user := g.dial(t)
		send(t, user, "in")
		receive(t, user, "in")
		return user
	}
	first := in()
	second := g.dial(t)
	send(t, second, "in")
	h.reconfigure(t, func(cfg *ServerConfig) { cfg.MaxStreamsPerService = 2 })
	receive(t, second, "in")
	h.reconfigure(t, func(cfg *ServerConfig) {
		cfg.MaxStreams, cfg.MaxStreamsPerService, cfg.Wait = 1, 1, 50*time.Millisecond
	})
	turnsAway(t, g.public(0))
	for _, user := range []net.Conn{first, second} {
		send(t, user, "still")
		receive(t, user, "still")
	}

	// Those who are behind a proxy, from now on.
	h.reconfigure(t, func(cfg *ServerConfig) {
		cfg.MaxStreams, cfg.MaxStreamsPerService, cfg.TrustProxy = 10, 10, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	user := g.dial(t)
	send(t, user, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nin")
	receive(t, user, "in")
	h.reconfigure(t, func(cfg *ServerConfig) { cfg.TrustProxy = nil })
	in()

	require.Equal(t, 1, h.log.count("joined"))
	h.reconfigure(t, func(cfg *ServerConfig) { cfg.MaxSessions = 1 })
	other := runClient(t, h.clientConfig("localhost:1"))
	other.log.find(t, "which is its limit")
}

// TestReconfigureServerInvalid: what cannot work changes nothing, what would need a
// restart is named.
func TestReconfigureServerInvalid(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	before := h.cfg.Load()
	for name, change := range map[string]func(*ServerConfig){
		"no keys":    func(cfg *ServerConfig) { cfg.Keys = nil },
		"bad ports":  func(cfg *ServerConfig) { cfg.AllowPorts = "70000" },
		"bad target": func(cfg *ServerConfig) { cfg.AllowForward = "nowhere" },
		"bad prefix": func(cfg *ServerConfig) { cfg.AllowFrom = []netip.Prefix{{}} },
		"bad proxy":  func(cfg *ServerConfig) { cfg.TrustProxy = []netip.Prefix{{}} },
		"bad wait":   func(cfg *ServerConfig) { cfg.Wait = -1 },
	} {
		cfg := h.given()
		cfg.MaxStreams = 7
		change(&cfg)
		_, err := h.Reconfigure(cfg)
		var field *ConfigError
		require.ErrorAs(t, err, &field, name)
		require.Same(t, before, h.cfg.Load(), name)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	cfg := h.given()
	cfg.Listen, cfg.Listener, cfg.Inherited, cfg.Bind = ":1", listener, []net.Listener{listener}, "127.0.0.2"
	cfg.TLS, cfg.TLSConfig, cfg.Keys = pool.TLSSelfSigned, &tls.Config{}, []pool.Key{pool.NewKey()}
	cfg.Heartbeat, cfg.KeepAlive, cfg.HandshakeTimeout, cfg.Logger = time.Minute, time.Minute, time.Minute, new(recorder)
	cfg.Drain = time.Minute
	restart, err := h.Reconfigure(cfg)
	require.NoError(t, err)
	require.Equal(t, []string{"Listen", "Listener", "Inherited", "Bind", "TLS", "TLSConfig", "Keys", "Heartbeat", "KeepAlive", "HandshakeTimeout", "Logger"}, restart)
	require.Equal(t, time.Minute, h.cfg.Load().Drain)
	works(t, startClient(t, h, startTarget(t, echo)))
	h.reconfigure(t, func(cfg *ServerConfig) { cfg.Drain = DefaultDrain })

	h.Close()
	_, err = h.Reconfigure(h.given())
	require.ErrorIs(t, err, ErrStopping)
}

// TestReconfigureConcurrently: both ends change all the time, with sessions that
// break and users who come; then everything is as it was said last.
func TestReconfigureConcurrently(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	target := startTarget(t, echo)
	var line cable
	g := startClient(t, h, target, func(cfg *ClientConfig) { cfg.Dial = line.dial })
	base := *g.cfg.Load()
	var ports []uint16
	for range 6 {
		ports = append(ports, freePort(t))
	}
	stop := make(chan struct{})
	var tasks sync.WaitGroup
	for i := range 3 {
		tasks.Go(func() { // ends with stop
			for n := i; ; n++ {
				cfg := base
				cfg.Services = []Service{base.Services[0]}
				for k, port := range ports {
					if n>>(k%5)&1 == 0 {
						cfg.Services = append(cfg.Services, Service{Name: strconv.Itoa(k), Port: port, Target: target, Rate: int64(1+n%3) << 20})
					}
				}
				cfg.PoolMin = base.PoolMin + n/16%2
				if _, err := g.Reconfigure(cfg); err != nil {
					t.Error(err)
				}
				server := h.given()
				server.MaxStreams = 1000 + n%7
				if n%64 == 0 {
					server.AllowPorts = "1024-65534"
				}
				if _, err := h.Reconfigure(server); err != nil {
					t.Error(err)
				}
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(i) * 3 * time.Millisecond):
				}
			}
		})
	}
	for range 30 {
		before := h.log.count(" joined ")
		eventually(t, func() bool { return h.log.count(" joined ") >= before+2 }, h.log.text) // what changed, and a way that was cut
		line.cut()
		line.mend()
	}
	close(stop)
	tasks.Wait()
	h.reconfigure(t, func(cfg *ServerConfig) { cfg.AllowPorts = DefaultAllowPorts })
	g.reconfigure(t, func(cfg *ClientConfig) {
		cfg.PoolMin = base.PoolMin
		cfg.Services = []Service{base.Services[0], {Name: "last", Port: ports[0], Target: target}}
	})
	g.settle(t)
	eventually(t, func() bool { return len(h.Stats().Services) == 2 && h.Stats().Sessions == 1 }, func() string {
		return fmt.Sprintf("%+v\n%s", h.Stats().Services, h.log.tail())
	})
	require.Len(t, g.Services(), 2)
	eventually(t, func() bool { return g.Services()[0].Up && g.Services()[1].Up }, g.log.text)
	works(t, g)
}
