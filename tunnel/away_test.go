package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/faults"
)

// What users see while their client is away, and who has a port then.

// cable connects a client with its server until it is cut, and not again until
// it is mended.
type cable struct {
	mu    sync.Mutex
	conns []net.Conn
	torn  bool
}

var errTorn = errors.New("no way there")

func (c *cable) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.torn {
		conn.Close()
		return nil, errTorn
	}
	c.conns = append(c.conns, conn)
	return conn, nil
}

// cut ends every connection as the death of a program does.
func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.torn = true
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

func (c *cable) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.torn = false
}

// away waits until the server knows that its only client is.
func (h *host) away(t testing.TB) {
	t.Helper()
	eventually(t, func() bool { return h.Stats().Sessions == 0 }, h.log.text)
}

// TestUsersAreHeld: a client is lost and comes back. Its port stays the same
// and open all the time, and users who come meanwhile are served.
func TestUsersAreHeld(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		target := &counting{seen: make(map[string]int)}
		h := startServer(t, mode)
		var line cable
		g := startClient(t, h, startTarget(t, target.serve), func(cfg *ClientConfig) { cfg.Dial = line.dial })
		public := g.public(0)
		const users = 20
		for round := range 3 {
			line.cut()
			h.away(t)
			st := h.Stats().Services
			require.Len(t, st, 1)
			require.False(t, st[0].Up)
			require.Equal(t, public, st[0].Addr)
			var crowd sync.WaitGroup
			for i := range users {
				user := dialUser(t, public)
				crowd.Go(func() {
					request := fmt.Sprintf("round %d user %d", round, i)
					answer, err := ask(user, request)
					if err != nil || answer != "got "+request {
						t.Errorf("%s was told %q, %v", request, answer, err)
					}
				})
			}
			eventually(t, func() bool { return h.Stats().Open == users }, h.log.text)
			line.mend()
			crowd.Wait()
			g.up(t)
			require.Equal(t, public, g.public(0), "the server chose another port")
		}
		require.Zero(t, h.Stats().Timeouts)
		target.mu.Lock()
		defer target.mu.Unlock()
		require.Len(t, target.seen, 3*users)
		for request, times := range target.seen {
			require.Equal(t, 1, times, request)
		}
	})
}

// TestHeldInVain: a client that stays away. Users wait no longer than they
// may, and the port closes after the linger time.
func TestHeldInVain(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) {
		cfg.Wait, cfg.Linger = 50*time.Millisecond, time.Second
	})
	var line cable
	g := startClient(t, h, startTarget(t, echo), func(cfg *ClientConfig) { cfg.Dial = line.dial })
	line.cut()
	h.away(t)
	user := g.dialPublic(t, h)
	_, err := user.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	h.log.find(t, "waited 50ms for a connection and got none; the client is away")
	require.EqualValues(t, 1, h.Stats().Timeouts)
	t.Log(h.log.find(t, `"guest" did not come back within 1s: its 1 public ports are closed`))
	require.Empty(t, h.Stats().Services)
}

// dialPublic is a user's way to a service whose client is away.
func (g *guest) dialPublic(t testing.TB, h *host) *net.TCPConn {
	t.Helper()
	return dialUser(t, h.Stats().Services[0].Addr)
}

// noLinger makes a server close the ports of a client that is lost at once.
func noLinger(cfg *ServerConfig) { cfg.Linger = -1 }

// TestNoLinger: a server that was told not to hold closes at once.
func TestNoLinger(t *testing.T) {
	h := startServer(t, pool.TLSPlain, noLinger)
	var line cable
	startClient(t, h, startTarget(t, echo), func(cfg *ClientConfig) { cfg.Dial = line.dial })
	line.cut()
	eventually(t, func() bool { return len(h.Stats().Services) == 0 }, h.log.text)
}

// TestServiceGivenUp: a client that comes back without one of its services
// loses that port after the linger time, and keeps the other.
func TestServiceGivenUp(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Linger = 300 * time.Millisecond })
	var line cable
	target := startTarget(t, echo)
	cfg := h.clientConfig(target)
	cfg.Identity, cfg.Dial = [16]byte{9}, line.dial
	cfg.Services = append(cfg.Services, Service{Name: "other", Target: target})
	g := runClient(t, cfg).up(t)
	kept := g.public(0)
	line.cut()
	h.away(t)
	g.Close()
	<-g.done
	line.mend()
	cfg.Services = cfg.Services[:1]
	young := runClient(t, cfg).up(t)
	require.Equal(t, kept, young.public(0))
	t.Log(h.log.find(t, `"guest" is back without 1 of its services`))
	require.Len(t, h.Stats().Services, 1)
	works(t, young)
}

// TestCopiedIdentity: two programs with one identity. The second is told so and
// does not disturb the first, and takes its place when that is gone.
func TestCopiedIdentity(t *testing.T) {
	h := startServer(t, pool.TLSSelfSigned)
	target := startTarget(t, echo)
	cfg := h.clientConfig(target)
	cfg.Identity = [16]byte{7}
	first := runClient(t, cfg).up(t)
	second := runClient(t, cfg)
	t.Log(second.log.find(t, "another client with the same identity is connected from"))
	require.Contains(t, second.Services()[0].Reason, "'identity'")
	t.Log(h.log.find(t, "has the same identity, and answers"))
	works(t, first)
	require.Zero(t, first.log.count("lost"))
	first.Close()
	<-first.done
	works(t, second.up(t))
}

// TestIdentityOfTheDead: a machine that died without a word comes back while
// the server still believes in its former session.
func TestIdentityOfTheDead(t *testing.T) {
	h := startServer(t, pool.TLSSelfSigned, func(cfg *ServerConfig) { cfg.Heartbeat = time.Minute }) // too late to help
	link, err := faults.NewLink(h.addr(), 0)
	require.NoError(t, err)
	t.Cleanup(link.Close)
	cfg := h.clientConfig(startTarget(t, echo))
	cfg.Identity = [16]byte{7}
	cfg.Heartbeat = time.Minute
	cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return link.Dial(ctx) }
	old := runClient(t, cfg).up(t)
	link.Mute(0, link.Carried())
	young := runClient(t, cfg).up(t)
	require.Equal(t, old.public(0), young.public(0))
	works(t, young)
	require.Zero(t, h.log.count("denied"))
}

// TestTakeover: another client asks for a port. It is told who holds it while
// the holder answers, and has it when the holder does not, together with the
// users who wait for it.
func TestTakeover(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Heartbeat = time.Minute })
	link, err := faults.NewLink(h.addr(), 0)
	require.NoError(t, err)
	t.Cleanup(link.Close)
	holder := h.clientConfig(startTarget(t, echo))
	holder.Name, holder.Services[0].Port = "holder", freePort(t)
	holder.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return link.Dial(ctx) }
	holder.PoolMin, holder.PoolMax, holder.Carriers = 1, 1, -1
	runClient(t, holder).up(t)

	rival := h.clientConfig(startTarget(t, echo))
	rival.Name, rival.Services[0].Port = "rival", holder.Services[0].Port
	denied := runClient(t, rival)
	t.Log(denied.log.find(t, `is held by client "holder"`))
	denied.Close()
	<-denied.done

	link.Mute(0, link.Carried())
	user := dialUser(t, h.Stats().Services[0].Addr)
	eventually(t, func() bool { return h.Stats().Streams == 1 }, h.log.text)
	waiting := dialUser(t, h.Stats().Services[0].Addr)
	eventually(t, func() bool { s := h.Stats(); return s.Open == 2 }, h.log.text)
	g := runClient(t, rival).up(t)
	require.Equal(t, rival.Services[0].Port, portOf(t, g.public(0)))
	works(t, g)
	send(t, waiting, "held")
	receive(t, waiting, "held")
	send(t, user, "offered in vain before")
	receive(t, user, "offered in vain before")
	t.Log(h.log.find(t, "takes port"))
	t.Log(h.log.find(t, "no answer while"))
}

// TestTakeoverOfTheAbsent: a client without a session answers nobody. Another
// one with the same key may have its port, and one with another key may not.
func TestTakeoverOfTheAbsent(t *testing.T) {
	stranger := pool.NewKey()
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Keys = append(cfg.Keys, stranger) })
	var line cable
	port := freePort(t)
	startClient(t, h, startTarget(t, echo), func(cfg *ClientConfig) {
		cfg.Name, cfg.Dial, cfg.Services[0].Port = "absent", line.dial, port
	})
	line.cut()
	h.away(t)
	cfg := h.clientConfig(startTarget(t, echo))
	cfg.Key, cfg.Services[0].Port = stranger, port
	t.Log(runClient(t, cfg).log.find(t, "is held by a client with another key"))
	cfg.Key = h.key
	g := runClient(t, cfg).up(t)
	works(t, g)

	// The former holder is back, and told who has it.
	line.mend()
	eventually(t, func() bool { return h.log.count(`"absent": service "web" on port`) == 1 }, h.log.text)
	works(t, g)
}

// TestNoEvictionWar: two machines want one port. The first keeps it.
func TestNoEvictionWar(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	port, target := freePort(t), startTarget(t, echo)
	change := func(cfg *ClientConfig) { cfg.Services[0].Port = port }
	first := startClient(t, h, target, change)
	cfg := h.clientConfig(target)
	change(&cfg)
	second := runClient(t, cfg)
	t.Log(second.log.find(t, `is held by client "guest"`))
	works(t, first)
	eventually(t, func() bool { return h.Stats().Sessions == 2 }, h.log.text)
	require.Equal(t, 2, h.log.count("joined"))
	first.Close()
	<-first.done
}

// TestTooManySessions: the cap holds for newcomers, not for those who return.
func TestTooManySessions(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.MaxSessions = 1 })
	var line cable
	g := startClient(t, h, startTarget(t, echo), func(cfg *ClientConfig) { cfg.Dial = line.dial })
	cfg := h.clientConfig("localhost:1")
	t.Log(runClient(t, cfg).log.find(t, "the server has 1 clients, which is its limit"))
	works(t, g)
}

// TestDrainTurnsHeldUsersAway: a server that stops holds nobody.
func TestDrainTurnsHeldUsersAway(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	var line cable
	startClient(t, h, startTarget(t, echo), func(cfg *ClientConfig) { cfg.Dial = line.dial })
	line.cut()
	h.away(t)
	user := dialUser(t, h.Stats().Services[0].Addr)
	eventually(t, func() bool { return h.Stats().Open == 1 }, h.log.text)
	h.stop()
	_, err := io.ReadAll(user)
	require.ErrorIs(t, err, syscall.ECONNRESET)
	<-h.done
}
