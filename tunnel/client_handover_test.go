package tunnel

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
)

// inForce waits until all is up in a session with the present configuration.
func (g *guest) inForce(t *testing.T) {
	t.Helper()
	g.settle(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, g.Up(ctx), "%s", g.log.text())
}

// TestReconfigureAnotherServer: a client moves to another server when that takes it
// in, and not before; streams end where they began.
func TestReconfigureAnotherServer(t *testing.T) {
	key := pool.NewKey()
	with := func(cfg *ServerConfig) { cfg.Keys = []pool.Key{key} }
	one, two := startServer(t, pool.TLSSelfSigned, with), startServer(t, pool.TLSSelfSigned, with)
	one.key, two.key = key, key
	target := startTarget(t, echo)
	g := startClient(t, one, target)
	public := g.public(0)
	users := startTalkers(t, 20, func(int) string { return public })

	g.reconfigure(t, func(cfg *ClientConfig) { cfg.Server = "127.0.0.1:1" })
	g.log.find(t, "127.0.0.1:1")
	users.more(t)
	works(t, g)
	g.reconfigure(t, func(cfg *ClientConfig) { cfg.Server = two.addr() })
	g.inForce(t)
	works(t, g)
	require.Equal(t, 1, two.Stats().Sessions)
	eventually(t, func() bool { return len(one.Stats().Services) == 0 }, one.log.text)
	users.more(t)
	users.finish()
	eventually(t, func() bool { return one.Stats().Sessions == 0 && one.Stats().Open == 0 }, one.log.text)
	require.Zero(t, one.Stats().NoAck+two.Stats().NoAck)
}

// TestReconfigureMistakenServer: a server's name that is wrong and is put right again
// costs the client neither its session's ports nor who is served meanwhile.
func TestReconfigureMistakenServer(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	g := startClient(t, h, startTarget(t, echo))
	users := startTalkers(t, 5, func(int) string { return g.public(0) })
	g.reconfigure(t, func(cfg *ClientConfig) { cfg.Server = "127.0.0.1:1" })
	g.log.find(t, "127.0.0.1:1")
	g.reconfigure(t, func(cfg *ClientConfig) { cfg.Server = h.addr() })
	g.inForce(t)
	works(t, g)
	users.more(t)
	users.finish()
	require.Zero(t, h.log.count("is withdrawn"), h.log.text())
	require.Zero(t, h.log.count("denied"), h.log.text())
}

// TestReconfigureThereAndBack: a client that returns to a server where streams of
// its former session go on is taken in at once.
func TestReconfigureThereAndBack(t *testing.T) {
	key := pool.NewKey()
	with := func(cfg *ServerConfig) { cfg.Keys = []pool.Key{key} }
	one, two := startServer(t, pool.TLSPlain, with), startServer(t, pool.TLSPlain, with)
	one.key, two.key = key, key
	g := startClient(t, one, startTarget(t, echo))
	users := startTalkers(t, 5, func(int) string { return g.public(0) })
	g.reconfigure(t, func(cfg *ClientConfig) { cfg.Server = two.addr() })
	g.inForce(t)
	eventually(t, func() bool { return len(one.Stats().Services) == 0 }, one.log.text)
	g.reconfigure(t, func(cfg *ClientConfig) { cfg.Server = one.addr() })
	begun := time.Now()
	g.inForce(t)
	require.Less(t, time.Since(begun), g.cfg.Load().Drain/2)
	works(t, g)
	require.Zero(t, one.log.count("denied"), one.log.text())
	eventually(t, func() bool { return two.Stats().Sessions == 0 }, two.log.text)
	users.more(t)
	users.finish()
	eventually(t, func() bool { return one.Stats().Sessions == 1 && one.Stats().Open == 0 }, one.log.text)
}

// TestReconfigureNameOfTwoServers: when the server's name leads elsewhere by the time
// that another session is wanted, the former one does not stay.
func TestReconfigureNameOfTwoServers(t *testing.T) {
	key := pool.NewKey()
	with := func(cfg *ServerConfig) { cfg.Keys = []pool.Key{key} }
	one, two := startServer(t, pool.TLSPlain, with), startServer(t, pool.TLSPlain, with)
	one.key, two.key = key, key
	var at atomic.Pointer[host]
	at.Store(one)
	g := startClient(t, one, startTarget(t, echo), func(cfg *ClientConfig) {
		cfg.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, at.Load().addr())
		}
	})
	at.Store(two)
	g.reconfigure(t, func(cfg *ClientConfig) { cfg.PoolMin++ })
	g.inForce(t)
	works(t, g)
	eventually(t, func() bool { return one.Stats().Sessions == 0 && len(one.Stats().Services) == 0 }, one.log.text)
	require.Equal(t, 1, two.Stats().Sessions)
}

// TestReconfigureEndsAPause: what is put right is tried at once, however long the
// client would have waited before it tried the former server again.
func TestReconfigureEndsAPause(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	p := startPuppet(t, h.key, func(_ *puppet, control net.Conn) {
		control.Write(wire.AppendMessage(nil, wire.GoAway{Code: wire.Replaced}))
	})
	g := runClient(t, p.clientConfig(h.key, startTarget(t, echo)))
	g.log.find(t, "another client joined with our identity") // half a minute's pause, or a part of it
	begun := time.Now()
	g.reconfigure(t, func(cfg *ClientConfig) { cfg.Server = h.addr() })
	require.Less(t, time.Since(begun), 2*time.Second)
	works(t, g)
}

// TestReconfigureAnotherKey: at the same server a client with another key is another
// one, which gets the port when the former has given it up.
func TestReconfigureAnotherKey(t *testing.T) {
	p := startPeople(t, pool.TLSSelfSigned)
	port := freePort(t)
	g := p.client(t, p.anna, startTarget(t, echo), func(cfg *ClientConfig) { cfg.Services[0].Port = port }).up(t)
	users := startTalkers(t, 20, func(int) string { return g.public(0) })
	g.reconfigure(t, func(cfg *ClientConfig) { cfg.Key = p.ben.Key })
	g.inForce(t)
	works(t, g)
	p.log.find(t, `joined (key "ben"`)
	require.Zero(t, p.log.count("denied"))
	users.more(t)
	users.finish()
	eventually(t, func() bool { return p.Stats().Sessions == 1 }, p.log.text)
}

// TestReconfigureAliasOfTheServer: a server under another name takes the client for
// a copy of itself, as long as the former session lives; so that ends.
func TestReconfigureAliasOfTheServer(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	g := startClient(t, h, startTarget(t, echo))
	users := startTalkers(t, 5, func(int) string { return g.public(0) })
	_, port, err := net.SplitHostPort(h.addr())
	require.NoError(t, err)
	g.reconfigure(t, func(cfg *ClientConfig) { cfg.Server = net.JoinHostPort("localhost", port) })
	g.inForce(t)
	works(t, g)
	users.more(t)
	users.finish()
	eventually(t, func() bool { return h.Stats().Sessions == 1 }, h.log.text)
}

// TestReconfigureWhileAway: what changes while there is no session holds in the
// next; who waits for a service that is gone is turned away at once.
func TestReconfigureWhileAway(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	target := startTarget(t, echo)
	var line cable
	one, two, three := freePort(t), freePort(t), freePort(t)
	g := startClient(t, h, target, func(cfg *ClientConfig) {
		cfg.Dial, cfg.Services = line.dial, []Service{{Port: one, Target: target}, {Port: two, Target: target}}
	})
	first, second := g.public(0), g.public(1)
	line.cut()
	h.away(t)
	stays, goes := dialUser(t, first), dialUser(t, second)
	send(t, stays, "in")
	eventually(t, func() bool { return h.Stats().Open == 2 }, h.log.text)
	cfg := *g.cfg.Load()
	cfg.Services = []Service{{Port: one, Target: target}, {Port: three, Target: target}}
	restart, err := g.Reconfigure(cfg)
	require.NoError(t, err)
	require.Empty(t, restart)
	line.mend()
	g.inForce(t)
	receive(t, stays, "in")
	wasReset(t, goes)
	require.Len(t, h.Stats().Services, 2)
	c := dialUser(t, g.public(1))
	send(t, c, "in")
	receive(t, c, "in")
}

// TestReconfigureGroupMember: a client that leaves a group costs its users nothing,
// and the port stays open for the others.
func TestReconfigureGroupMember(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	port, other := freePort(t), freePort(t)
	a := startClient(t, h, telling(t, "a"), sharing("a", port))
	b := startClient(t, h, telling(t, "b"), sharing("b", port))
	public := a.public(0)
	met := make(map[string]net.Conn)
	for range 2 {
		who, c := told(t, public)
		met[who] = c
	}
	h.spread(t, 2, len(met))
	a.reconfigure(t, func(cfg *ClientConfig) { cfg.Services = []Service{{Port: other, Target: cfg.Services[0].Target}} })
	a.settle(t)
	for range 4 {
		who, _ := told(t, public)
		require.Equal(t, "b", who)
	}
	for _, c := range met {
		send(t, c, "still")
		receive(t, c, "still")
	}
	b.reconfigure(t, func(cfg *ClientConfig) { cfg.Services = []Service{{Port: 0, Target: cfg.Services[0].Target}} })
	b.settle(t)
	_, err := net.DialTimeout("tcp", public, patience)
	require.Error(t, err, "nobody has it")
}

// TestReconfigureUDP: services of UDP come and go too.
func TestReconfigureUDP(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	g := startClient(t, h, startTarget(t, echo))
	user := g.dial(t)
	send(t, user, "in")
	receive(t, user, "in")
	port := freePort(t)
	web, packets := g.cfg.Load().Services[0], packetTarget(t, echoPacket)
	g.reconfigure(t, func(cfg *ClientConfig) {
		cfg.Services = []Service{web, {Network: "udp", Port: port, Target: packets}}
	})
	public := g.public(1)
	c := udpUser(t, public)
	sendPacket(t, c, []byte("ping"))
	require.Equal(t, "ping", string(receivePacket(t, c)))
	g.reconfigure(t, func(cfg *ClientConfig) { cfg.Services = []Service{web} })
	g.settle(t)
	again, err := net.ListenPacket("udp", public)
	require.NoError(t, err, "the port is free")
	again.Close()
	eventually(t, func() bool { return h.Stats().Open == 1 }, h.log.text)
	send(t, user, "still")
	receive(t, user, "still")
}

// TestReconfigureForwards: forwards open and close, and change where they lead,
// while their users talk on.
func TestReconfigureForwards(t *testing.T) {
	first, second := telling(t, "1"), telling(t, "2")
	h := startServer(t, pool.TLSSelfSigned, allowing(first+","+second))
	g := startClient(t, h, startTarget(t, echo))
	web := g.dial(t)
	send(t, web, "in")
	receive(t, web, "in")
	g.reconfigure(t, func(cfg *ClientConfig) { cfg.Forwards = []Forward{{Name: "a", Listen: "127.0.0.1:0", Target: first}} })
	g.inForce(t)
	entrance := g.entrance(0)
	who, one := told(t, entrance)
	require.Equal(t, "1", who)

	g.reconfigure(t, func(cfg *ClientConfig) {
		cfg.Forwards = []Forward{{Name: "b", Listen: "127.0.0.1:0", Target: first}, {Name: "a", Listen: "127.0.0.1:0", Target: second}}
	})
	g.inForce(t)
	require.Equal(t, entrance, g.entrance(1), "it is the same address")
	who, two := told(t, entrance)
	require.Equal(t, "2", who)
	who, _ = told(t, g.entrance(0))
	require.Equal(t, "1", who)

	g.reconfigure(t, func(cfg *ClientConfig) { cfg.Forwards = cfg.Forwards[:1] })
	g.inForce(t)
	_, err := net.DialTimeout("tcp", entrance, patience)
	require.Error(t, err)
	for _, c := range []net.Conn{one, two} {
		send(t, c, "still")
		receive(t, c, "still")
	}
	g.reconfigure(t, func(cfg *ClientConfig) { cfg.Forwards = nil })
	g.inForce(t)
	for _, c := range []net.Conn{one, two, web} {
		send(t, c, "still")
		receive(t, c, "still")
	}
	require.Empty(t, g.Forwards())
}

// TestReconfigureUsersOfForwardsOfUDP: a higher limit holds for those of an address
// that is open already.
func TestReconfigureUsersOfForwardsOfUDP(t *testing.T) {
	target := packetTarget(t, echoPacket)
	h := startServer(t, pool.TLSPlain, allowing(target))
	g := startClient(t, h, startTarget(t, echo), func(cfg *ClientConfig) {
		cfg.MaxStreams, cfg.Forwards = 1, []Forward{{Name: "a", Network: "udp", Listen: "127.0.0.1:0", Target: target}}
	})
	one, two := udpUser(t, g.entrance(0)), udpUser(t, g.entrance(0))
	sendPacket(t, one, []byte("ping"))
	require.Equal(t, "ping", string(receivePacket(t, one)))
	sendPacket(t, two, []byte("lost"))
	g.log.find(t, `Forward "a": a datagram is dropped`)
	g.reconfigure(t, func(cfg *ClientConfig) { cfg.MaxStreams = 2 })
	g.inForce(t)
	sendPacket(t, two, []byte("ping"))
	require.Equal(t, "ping", string(receivePacket(t, two)))
}

// TestReconfigureFreesWhoWaits: a user of a forward who waits for a connection of the
// former server is served by the next one, while streams of the former go on.
func TestReconfigureFreesWhoWaits(t *testing.T) {
	key, target := pool.NewKey(), startTarget(t, echo)
	with := func(cfg *ServerConfig) { cfg.Keys = []pool.Key{key} }
	one, two := startServer(t, pool.TLSPlain, allowing(target), with), startServer(t, pool.TLSPlain, allowing(target), with)
	one.key, two.key = key, key
	var full atomic.Bool
	g := startClient(t, one, target, func(cfg *ClientConfig) {
		cfg.Forwards = []Forward{{Name: "a", Listen: "127.0.0.1:0", Target: target}}
		cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if full.Load() && addr == one.addr() {
				return nil, errTorn
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	})
	first := dialUser(t, g.entrance(0))
	send(t, first, "in")
	receive(t, first, "in")
	full.Store(true)
	waiting := first
	for range 4 * defaultForwardMin {
		if g.Stats().Forwarding.Waiting > 0 {
			break
		}
		waiting = dialUser(t, g.entrance(0))
		send(t, waiting, "in")
		eventually(t, func() bool {
			st := g.Stats().Forwarding
			return st.Waiting > 0 || st.Idle == 0 || st.Out == g.Stats().Open
		}, g.log.text)
	}
	eventually(t, func() bool { return g.Stats().Forwarding.Waiting > 0 }, g.log.text)
	g.reconfigure(t, func(cfg *ClientConfig) { cfg.Server = two.addr() })
	begun := time.Now()
	receive(t, waiting, "in")
	require.Less(t, time.Since(begun), DefaultWait/2)
	send(t, first, "still")
	receive(t, first, "still")
}

// TestReconfigureBeforeRun: a client can be changed before it runs, and what runs
// beside sessions, too.
func TestReconfigureBeforeRun(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	cfg := h.clientConfig(startTarget(t, echo))
	cfg.Server = "127.0.0.1:1"
	g := runClientWith(t, cfg, func(c *Client) {
		cfg.Server, cfg.Logger, cfg.Services[0].Health = h.addr(), c.log, "tcp"
		restart, err := c.Reconfigure(cfg)
		require.NoError(t, err)
		require.Empty(t, restart)
	})
	works(t, g.up(t))
	watching := func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.services[0].target.Load().watch != nil
	}
	require.True(t, watching())
	g.reconfigure(t, func(cfg *ClientConfig) { cfg.Services[0].HealthInterval = time.Second })
	require.True(t, watching())
	g.reconfigure(t, func(cfg *ClientConfig) { cfg.Services[0].Health, cfg.Services[0].HealthInterval = "", 0 })
	require.False(t, watching())
}
