package tunnel

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/faults"
	"github.com/tunnelpool/pool/internal/wire"
)

// allowing lets a server's clients forward to targets.
func allowing(targets string) func(*ServerConfig) {
	return func(cfg *ServerConfig) { cfg.AllowForward = targets }
}

// forwardConfig fits a host, with one forward and no service.
func (h *host) forwardConfig(target string) ClientConfig {
	cfg := h.clientConfig("unused:1")
	cfg.Services = nil
	cfg.Forwards = []Forward{{Name: "db", Listen: ":0", Target: target}}
	return cfg
}

// forwarding runs a client whose forward is up and warm.
func (h *host) forwarding(t testing.TB, target string, change ...func(*ClientConfig)) *guest {
	t.Helper()
	cfg := h.forwardConfig(target)
	for _, f := range change {
		f(&cfg)
	}
	g := runClient(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, g.Up(ctx), "%s", g.log.text())
	g.warm(t)
	return g
}

// warm waits until the pool for forwards is.
func (g *guest) warm(t testing.TB) {
	t.Helper()
	eventually(t, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.current != nil && g.current.forwarding.Active() >= min(g.cfg.Load().PoolMin, defaultForwardMin)
	}, g.log.text)
}

// entrance is where the users of the i-th forward connect.
func (g *guest) entrance(i int) string { return g.Forwards()[i].Addr }

// TestForward: users at the client reach a target at the server, in each mode,
// with both ends of every conversation, many at once, and again on the same
// connections.
func TestForward(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		target := startTarget(t, func(c *net.TCPConn) {
			all, err := io.ReadAll(c) // until the user's half-close
			if err == nil {
				c.Write(append([]byte("got "), all...))
			}
		})
		h := startServer(t, mode, allowing(target))
		g := h.forwarding(t, target)
		var users sync.WaitGroup
		for i := range 50 {
			users.Go(func() {
				for range 3 {
					user := dialUser(t, g.entrance(0))
					said := bytes.Repeat([]byte{byte(i)}, 1+i*5000)
					if _, err := user.Write(said); err != nil {
						t.Error(err)
					}
					user.CloseWrite()
					got, err := io.ReadAll(user)
					if err != nil || !bytes.Equal(got, append([]byte("got "), said...)) {
						t.Errorf("user %d: %d bytes, %v", i, len(got), err)
					}
				}
			})
		}
		users.Wait()
		eventually(t, func() bool { return h.Stats().Open == 0 && g.Stats().Open == 0 }, h.log.text)
		require.EqualValues(t, 150, h.Stats().Forwarded)
		require.EqualValues(t, 150, g.Stats().Forwarded)
		require.Zero(t, g.Stats().Pool.Created, "a client without services keeps no connections for them")
	})
}

// TestForwardServerSpeaksFirst: the target greets, the user ends.
func TestForwardServerSpeaksFirst(t *testing.T) {
	target := startTarget(t, func(c *net.TCPConn) { io.WriteString(c, "welcome"); io.Copy(io.Discard, c) })
	h := startServer(t, pool.TLSSelfSigned, allowing(target))
	user := dialUser(t, h.forwarding(t, target).entrance(0))
	receive(t, user, "welcome")
}

// TestForwardDenied: nothing is allowed by default, and the client is told what
// its operator can do. Users are turned away at once.
func TestForwardDenied(t *testing.T) {
	target := startTarget(t, echo)
	for _, allowed := range []string{"", "db:5432", "127.0.0.1:1-1023"} {
		h := startServer(t, pool.TLSPlain, allowing(allowed))
		g := runClient(t, h.forwardConfig(target))
		line := g.log.find(t, `Forward "db" is not up`)
		require.Contains(t, line, "--allow-forward")
		require.Contains(t, line, target)
		h.log.find(t, "denied")
		turnedAway(t, g.entrance(0))
		require.Zero(t, h.Stats().Forwarded)
	}
}

// TestForwardRefusedTarget: the user is reset, the connection survives, and the
// server's log says what is wrong.
func TestForwardRefusedTarget(t *testing.T) {
	port := freePort(t)
	target := fmt.Sprintf("127.0.0.1:%d", port)
	h := startServer(t, pool.TLSPlain, allowing("127.0.0.1:*"))
	g := h.forwarding(t, target)
	turnedAway(t, g.entrance(0))
	h.log.find(t, "refused the connection: is it running?")
	require.Zero(t, g.log.count("lost"))
}

// TestForwardHeld: users who come while there is no session wait for the next,
// and streams of another session go on.
func TestForwardHeld(t *testing.T) {
	target := startTarget(t, echo)
	h := startServer(t, pool.TLSSelfSigned, allowing(target))
	var line cable
	g := h.forwarding(t, target, func(cfg *ClientConfig) { cfg.Dial = line.dial })
	line.cut()
	h.away(t)
	user := dialUser(t, g.entrance(0))
	send(t, user, "held")
	eventually(t, func() bool { return g.Stats().Open == 1 }, g.log.text)
	line.mend()
	receive(t, user, "held")
}

// TestForwardSilentDeath: pooled connections die without a word while control
// lives. The users who are offered on them are offered on others; the target sees
// every request once.
func TestForwardSilentDeath(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		c := &counting{seen: make(map[string]int)}
		target := startTarget(t, c.serve)
		h := startServer(t, mode, allowing(target))
		link, err := faults.NewLink(h.addr(), farAway)
		require.NoError(t, err)
		t.Cleanup(link.Close)
		g := h.forwarding(t, target, func(cfg *ClientConfig) {
			cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return link.Dial(ctx) }
		})
		eventually(t, func() bool { return g.Stats().RoundTrip > 0 }, g.log.text)
		warm := time.Now()
		eventually(t, func() bool { return time.Since(warm) > old }, func() string { return "the clock stands" })
		link.Mute(1, link.Carried()) // all but control
		var users sync.WaitGroup
		for i := range 20 {
			users.Go(func() {
				user := dialUser(t, g.entrance(0))
				fmt.Fprintf(user, "request %d", i)
				user.CloseWrite()
				got, err := io.ReadAll(user)
				if err != nil || string(got) != fmt.Sprintf("got request %d", i) {
					t.Errorf("user %d: %q, %v", i, got, err)
				}
			})
		}
		users.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		require.Len(t, c.seen, 20)
		for request, times := range c.seen {
			require.Equal(t, 1, times, request)
		}
		require.Greater(t, g.Stats().Forwarded, uint64(20), "nobody was offered again")
	})
}

// TestForwardDrain: a client that stops lets no more users in and lets those who
// are in finish.
func TestForwardDrain(t *testing.T) {
	target := startTarget(t, echo)
	h := startServer(t, pool.TLSPlain, allowing(target))
	g := h.forwarding(t, target)
	addr := g.entrance(0)
	user := dialUser(t, addr)
	send(t, user, "before")
	receive(t, user, "before")
	g.stop()
	eventually(t, func() bool {
		conn, err := net.DialTimeout("tcp", addr, patience)
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, g.log.text)
	send(t, user, "meanwhile")
	receive(t, user, "meanwhile")
	user.CloseWrite()
	_, err := io.ReadAll(user)
	require.NoError(t, err)
	<-g.done
}

// TestForwardBesideService: both directions in one client, which never claim the
// same connection.
func TestForwardBesideService(t *testing.T) {
	there, here := startTarget(t, echo), startTarget(t, echo)
	h := startServer(t, pool.TLSSelfSigned, allowing(there))
	g := startClient(t, h, here, func(cfg *ClientConfig) {
		cfg.Forwards = []Forward{{Listen: "127.0.0.1:0", Target: there}}
	})
	g.warm(t)
	var users sync.WaitGroup
	for i := range 100 {
		addr := g.public(0)
		if i%2 == 1 {
			addr = g.entrance(0)
		}
		users.Go(func() {
			user := dialUser(t, addr)
			said := fmt.Sprintf("user %d", i)
			io.WriteString(user, said)
			got := make([]byte, len(said))
			if _, err := io.ReadFull(user, got); err != nil || string(got) != said {
				t.Errorf("%q, %v", got, err)
			}
			user.Close()
		})
	}
	users.Wait()
	require.Equal(t, there, g.Forwards()[0].Name)
}

// TestForwardAddressTaken: the error names the forward and the address.
func TestForwardAddressTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	h := startServer(t, pool.TLSPlain)
	cfg := h.forwardConfig("db:5432")
	cfg.Forwards = append([]Forward{{Name: "first", Listen: ":0", Target: "x:1"}}, cfg.Forwards...)
	cfg.Forwards[1].Listen = l.Addr().String()
	_, err = NewClient(cfg)
	require.ErrorContains(t, err, `forward "db"`)
	require.ErrorContains(t, err, l.Addr().String())
	var op *net.OpError
	require.ErrorAs(t, err, &op)
}

// TestForwardHostileClient: what a client may not say ends its session, and costs
// nothing that stays.
func TestForwardHostileClient(t *testing.T) {
	for name, says := range map[string][]wire.Message{
		"an Open without a Forward":  {wire.Open{Stream: 1, ID: [8]byte([]byte("abcdefgh"))}},
		"an Open of another forward": {wire.Forward{Ref: 1, Network: wire.NetworkTCP, Target: "127.0.0.1:1"}, wire.Open{Stream: 1, ID: [8]byte([]byte("abcdefgh")), Ref: 2}},
		"an Open after its goodbye": {wire.Forward{Ref: 1, Network: wire.NetworkTCP, Target: "127.0.0.1:1"},
			wire.GoAway{Code: wire.Shutdown}, wire.Open{Stream: 1, ID: [8]byte([]byte("abcdefgh")), Ref: 1}},
		"a number twice": {wire.Forward{Ref: 1, Network: wire.NetworkTCP, Target: "127.0.0.1:1"},
			wire.Open{Stream: 1, ID: [8]byte([]byte("abcdefgh")), Ref: 1}, wire.Open{Stream: 1, ID: [8]byte([]byte("ijklmnop")), Ref: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			h := startServer(t, pool.TLSPlain, allowing("127.0.0.1:1"))
			control, _ := h.joinAs(t, h.key, wire.Join{Identity: [16]byte{1}, Instance: [16]byte{2}, Name: "hostile"})
			for _, m := range says {
				say(t, control, m)
			}
			h.away(t)
			eventually(t, func() bool { return h.Stats().Open == 0 }, h.log.text)
			require.Zero(t, h.Stats().Forwarded)
		})
	}
}

// TestForwardPlaces: users of forwards take the places of their key, and the log
// says whose limit it was that turned one away.
func TestForwardPlaces(t *testing.T) {
	target := startTarget(t, echo)
	ring, err := NewKeyring()
	require.NoError(t, err)
	h := startServer(t, pool.TLSPlain, allowing(target), func(cfg *ServerConfig) { cfg.Keys, cfg.Keyring = nil, ring })
	require.NoError(t, ring.Set(Grant{Name: "anna", Key: h.key, MaxStreams: 1}))
	g := h.forwarding(t, target)
	user := dialUser(t, g.entrance(0))
	send(t, user, "in")
	receive(t, user, "in")
	turnedAway(t, g.entrance(0))
	h.log.find(t, `key "anna" may have 1 users at the same time; see its max-streams`)
	user.Close()
	eventually(t, func() bool { return h.Stats().Open == 0 }, h.log.text)
	user = dialUser(t, g.entrance(0))
	send(t, user, "next")
	receive(t, user, "next")
}

// TestForwardHostileTarget: where any host may be asked for, a name that is none
// reaches the log escaped.
func TestForwardHostileTarget(t *testing.T) {
	h := startServer(t, pool.TLSPlain, allowing("*:1"))
	const name = "db\u202e WARN"
	control, w := h.join(t, h.key, "hostile")
	say(t, control, wire.Forward{Network: wire.NetworkTCP, Target: name + ":1"})
	require.Empty(t, answers[wire.Forwarded](t, control, 1)[0].Text)
	conn := h.openForwarded(t, control, w, 1)
	_, err := io.ReadAll(io.LimitReader(conn, 2*wire.FrameHeaderSize+1)) // ACK and RESET
	require.NoError(t, err)
	require.Equal(t, 2, h.log.count(`db\u202e WARN`), h.log.text())
	require.Zero(t, h.log.count(name))
}

// turnedAway connects as a user who is reset soon.
func turnedAway(t *testing.T, addr string) {
	t.Helper()
	user, err := net.Dial("tcp", addr)
	if err == nil { // else it was before the call came back
		user.SetDeadline(time.Now().Add(patience))
		_, err = user.Read(make([]byte, 1))
		user.Close()
	}
	require.Error(t, err)
	require.False(t, isTimeout(err), "the user hangs")
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// TestForwardUDP: datagrams of two users at the client reach a target at the
// server and come back, whole and apart.
func TestForwardUDP(t *testing.T) {
	target, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	echoed := make(chan struct{})
	go func() { // ends when target is closed
		defer close(echoed)
		b := make([]byte, 1<<16)
		for {
			n, from, err := target.ReadFrom(b)
			if err != nil {
				return
			}
			target.WriteTo(b[:n], from)
		}
	}()
	t.Cleanup(func() { target.Close(); <-echoed })
	h := startServer(t, pool.TLSSelfSigned, allowing(target.LocalAddr().String()))
	g := h.forwarding(t, target.LocalAddr().String(), func(cfg *ClientConfig) { cfg.Forwards[0].Network = "udp" })
	for user := range 2 {
		conn, err := net.Dial("udp", g.entrance(0))
		require.NoError(t, err)
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		for _, size := range []int{1, 0, 1400, 60000, 3} {
			said := bytes.Repeat([]byte{byte(user)}, size)
			_, err := conn.Write(said)
			require.NoError(t, err)
			got := make([]byte, 1<<16)
			n, err := conn.Read(got)
			require.NoError(t, err)
			require.Equal(t, said, got[:n])
		}
	}
	require.EqualValues(t, 2, h.Stats().Forwarded)
}

// TestForwardRights: a key reaches what it is granted of what the server allows,
// is told so by name, and nothing any more once it is taken back.
func TestForwardRights(t *testing.T) {
	mine, other := startTarget(t, echo), startTarget(t, echo)
	ring, err := NewKeyring()
	require.NoError(t, err)
	h := startServer(t, pool.TLSSelfSigned, allowing("127.0.0.1:*"), func(cfg *ServerConfig) { cfg.Keys, cfg.Keyring = nil, ring })
	anna := Grant{Name: "anna", Key: h.key, Forwards: mine}
	require.NoError(t, ring.Set(anna))
	g := h.forwarding(t, mine, func(cfg *ClientConfig) { cfg.Identity = [16]byte{1} })
	user := dialUser(t, g.entrance(0))
	send(t, user, "mine")
	receive(t, user, "mine")

	denied := runClient(t, h.forwardConfig(other))
	require.Contains(t, denied.log.find(t, `Forward "db" is not up`), `key "anna" may not forward to "`+other+`"`)
	turnedAway(t, denied.entrance(0))

	require.NoError(t, ring.Set())
	_, err = user.Read(make([]byte, 1))
	require.Error(t, err)
	require.False(t, isTimeout(err), "the user stays")
	eventually(t, func() bool { return h.Stats().Open == 0 && h.Stats().Sessions == 0 }, h.log.text)
}
