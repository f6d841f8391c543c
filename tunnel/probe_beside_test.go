package tunnel

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/faults"
	"github.com/tunnelpool/pool/internal/wire"
)

// TestProbeBesideClient: a probe with the identity of a running client tells that
// it runs. The client's session, its ports and a stream in progress go on.
func TestProbeBesideClient(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		h := startServer(t, mode, func(cfg *ServerConfig) { cfg.AllowForward = "*:5432" })
		cfg := h.clientConfig(startTarget(t, echo))
		cfg.Identity = [16]byte{1, 2, 3}
		cfg.Services[0].Port = freePort(t)
		cfg.Services = append(cfg.Services, Service{Name: "any", Target: cfg.Services[0].Target})
		cfg.Forwards = []Forward{{Name: "db", Listen: fmt.Sprintf("127.0.0.1:%d", freePort(t)), Target: "db:5432"}}
		g := runClient(t, cfg).up(t)
		user := g.dial(t)
		send(t, user, "before")
		receive(t, user, "before")
		session := func() any { g.mu.Lock(); defer g.mu.Unlock(); return g.current }
		before := session()

		for range 3 {
			lines, err := probed(t, cfg)
			require.NoError(t, err)
			require.Regexp(t, `(?m)^ok service: web: port \d+ is published by this client, which is running$`, lines)
			require.Regexp(t, `(?m)^ok service: any: a port of the server's choice is published by this client, which is running$`, lines)
			require.Regexp(t, `(?m)^ok listen: db: 127\.0\.0\.1:\d+ is in use, as it must be while this client runs$`, lines)
			send(t, user, "meanwhile")
			receive(t, user, "meanwhile")
			works(t, g)
		}
		require.Same(t, before, session())
		require.Equal(t, 1, h.log.count(`"guest" at`), "it joined once, and did not leave")
		require.Zero(t, h.log.count("replaced"))
		require.Zero(t, g.log.count("WARN"))
		require.Len(t, h.Stats().Services, 2)
		eventually(t, func() bool { return g.Stats().Open == 1 }, func() string { return "the user of before is gone" })
	})
}

// TestProbeStandings: a probe tells who has a port, and leaves it to them.
func TestProbeStandings(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Heartbeat = time.Minute })
	target := startTarget(t, echo)
	line := func(cfg ClientConfig, want string) {
		t.Helper()
		lines, _ := probed(t, cfg)
		require.Regexp(t, `(?m)^`+want+`$`, lines)
	}

	t.Run("kept for its return", func(t *testing.T) {
		var way cable
		cfg := h.clientConfig(target)
		cfg.Identity, cfg.Services[0].Port = [16]byte{9}, freePort(t)
		away := cfg
		away.Dial = way.dial
		g := runClient(t, away).up(t)
		way.cut()
		eventually(t, func() bool { return h.log.count(`"guest" at`) == 2 }, h.log.text) // joined and left
		line(cfg, `ok service: web: port \d+ is kept for this client's return`)
		g.Close()
		<-g.done
	})

	t.Run("shared by a group", func(t *testing.T) {
		port := freePort(t)
		g := startClient(t, h, target, sharing("one", port))
		cfg := h.clientConfig(target)
		sharing("two", port)(&cfg)
		line(cfg, `ok service: web: port \d+ would be shared with the others of group "blue"`)
		cfg.Services[0].Group = "red"
		line(cfg, `failed service: web: port \d+ is held by client "one", for its group "blue" -> .*`)
		works(t, g)
	})

	t.Run("held by one that is silent", func(t *testing.T) {
		link, err := faults.NewLink(h.addr(), 0)
		require.NoError(t, err)
		t.Cleanup(link.Close)
		cfg := h.clientConfig(target)
		cfg.Services[0].Port = freePort(t)
		holder := cfg
		holder.Name, holder.Dial = "holder", func(ctx context.Context, _, _ string) (net.Conn, error) { return link.Dial(ctx) }
		runClient(t, holder).up(t)
		link.Mute(0, link.Carried())
		services := len(h.Stats().Services)
		line(cfg, `warning service: web: port \d+ is held by another client, which gives no sign of life -> this client would take it over; is that what is wanted\?`)
		require.Len(t, h.Stats().Services, services)
		require.Zero(t, h.log.count("takes port")+h.log.count("no answer while"), "it is the holder's still")
	})

	t.Run("handed over", func(t *testing.T) {
		socket, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Inherited = []net.Listener{socket} })
		cfg := h.clientConfig(target)
		cfg.Services[0].Port = portOf(t, socket.Addr().String())
		line := func(want string) {
			t.Helper()
			lines, _ := probed(t, cfg)
			require.Regexp(t, `(?m)^`+want+`$`, lines)
		}
		line(`ok service: web: port \d+ is allowed and free`)
		g := runClient(t, cfg).up(t)
		line(`failed service: web: port \d+ is held by client "guest" -> .*`)
		works(t, g)
	})
}

// TestAskingIsInNobodysWay: a port can be opened while others ask all the time
// whether it is free.
func TestAskingIsInNobodysWay(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	for name, network := range map[string]byte{"tcp": wire.NetworkTCP, "udp": wire.NetworkUDP} {
		t.Run(name, func(t *testing.T) {
			sv := &published{server: h.Server, network: network, holder: &holder{}}
			port := freePort(t)
			asked := wire.Register{Network: network, Port: port, Bind: "127.0.0.1"}
			stop, done := make(chan struct{}), make(chan struct{})
			go func() { // ends with stop
				defer close(done)
				for {
					select {
					case <-stop:
						return
					default:
						h.couldOpen(asked)
					}
				}
			}()
			for range 500 {
				l, err := h.listenPublic(sv.holder, network, sv.opener(), asked.Bind, port)
				require.NoError(t, err)
				l.Close()
			}
			close(stop)
			<-done
		})
	}
}

// TestProbeOfServerThatHangsUp: a server that ends the session instead of answering
// is asked nothing more.
func TestProbeOfServerThatHangsUp(t *testing.T) {
	key := pool.NewKey()
	at := fakeServer(t, key, func(control net.Conn) {
		for nonce := range uint64(probePings) {
			say(t, control, wire.Pong{Nonce: nonce})
		}
		say(t, control, wire.GoAway{Code: wire.Shutdown, Text: "not \x1b[31mtoday"})
	})
	target := startTarget(t, echo)
	lines, err := probed(t, ClientConfig{
		Server: at, Key: key, TLS: pool.TLSPlain,
		Services: []Service{{Name: "a", Target: target}, {Name: "b", Target: target}},
		Forwards: []Forward{{Name: "c", Listen: "127.0.0.1:0", Target: "db:1"}},
	})
	require.Error(t, err)
	require.Contains(t, lines, "failed service: a: no answer from the server: the session has ended: not  [31mtoday -> do both ends run the same version? The server's log says more\n")
	require.Equal(t, 1, strings.Count(lines, "skipped service: not tried, since \"service\" failed\n"), lines)
	require.Equal(t, 1, strings.Count(lines, "skipped forward: not tried, since \"service\" failed\n"), lines)
	require.Equal(t, 2, strings.Count(lines, "ok target: "), lines)
}
