package tunnel

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// talkers are users who send and receive all the time, what they know.
type talkers struct {
	stop  atomic.Bool
	tasks sync.WaitGroup
	done  atomic.Int64 // exchanges
	users []net.Conn
}

// startTalkers begins streams to an echo, each with bytes of its own.
func startTalkers(t *testing.T, count int, addr func(i int) string) *talkers {
	t.Helper()
	k := new(talkers)
	for i := range count {
		user := dialUser(t, addr(i))
		user.SetDeadline(time.Now().Add(4 * patience))
		send(t, user, "in")
		receive(t, user, "in")
		k.users = append(k.users, user)
		k.tasks.Go(func() { // ends with finish, or the connection
			sent, received := sha256.New(), sha256.New()
			random := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)})
			for !k.stop.Load() {
				if !talk(t, user, random, sent, received) {
					return
				}
				k.done.Add(1)
				time.Sleep(5 * time.Millisecond) // or nobody else on this machine gets to run
			}
			user.CloseWrite()
			rest, err := io.ReadAll(user)
			if err != nil || len(rest) != 0 || string(sent.Sum(nil)) != string(received.Sum(nil)) {
				t.Errorf("user %d: %d bytes more, %v, or other bytes than were sent", i, len(rest), err)
			}
		})
	}
	return k
}

func talk(t *testing.T, user net.Conn, random io.Reader, sent, received hash.Hash) bool {
	b := make([]byte, 1+rand.IntN(4096))
	random.Read(b)
	sent.Write(b)
	_, err := user.Write(b)
	if err == nil {
		_, err = io.CopyN(received, user, int64(len(b)))
	}
	if err != nil && !t.Failed() {
		t.Errorf("a user was cut off: %v", err)
	}
	return err == nil
}

// more waits until they all had time to say something.
func (k *talkers) more(t *testing.T) {
	t.Helper()
	from := k.done.Load()
	eventually(t, func() bool { return t.Failed() || k.done.Load() >= from+2*int64(len(k.users)) }, func() string { return "they fell silent" })
	require.False(t, t.Failed())
}

// finish ends them in order, and holds what they received against what they sent.
func (k *talkers) finish() {
	k.stop.Store(true)
	k.tasks.Wait()
}

// reconfigure changes a client's configuration, and waits until that is up.
func (g *guest) reconfigure(t *testing.T, change func(*ClientConfig)) {
	t.Helper()
	cfg := *g.cfg.Load()
	cfg.Services, cfg.Forwards = append([]Service{}, cfg.Services...), append([]Forward{}, cfg.Forwards...)
	change(&cfg)
	restart, err := g.Reconfigure(cfg)
	require.NoError(t, err)
	require.Empty(t, restart)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, g.Up(ctx), "%s", g.log.text())
}

// settle waits until the server has confirmed all that is configured, and the end
// of all that is not.
func (g *guest) settle(t *testing.T) {
	t.Helper()
	eventually(t, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		cs := g.current
		return cs != nil && cs.settled && !cs.isOutdated() && agreed(&cs.services, g.services) && agreed(&cs.forwards, g.forwards)
	}, g.log.text)
}

// agreed reports whether the server has answered to all that is wanted, and there is
// nothing else.
func agreed[E interface {
	comparable
	base() *entry
}](cl *claims[E], wanted []E) bool {
	for _, e := range wanted {
		if c := cl.latest[e]; c == nil || c.asked != e.base().request || c.unanswered > 0 {
			return false
		}
	}
	return len(cl.byRef) == len(wanted)
}

// TestReconfigureSparesStreams: services come and go while a hundred users of
// others, and of one that goes, talk on.
func TestReconfigureSparesStreams(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		h := startServer(t, mode)
		target := startTarget(t, echo)
		one, two, three := freePort(t), freePort(t), freePort(t)
		g := startClient(t, h, target, func(cfg *ClientConfig) {
			cfg.Services = []Service{{Port: one, Target: target}, {Port: two, Target: target}}
		})
		public := []string{g.public(0), g.public(1)}
		users := startTalkers(t, 100, func(i int) string { return public[i%2] })
		users.more(t)

		g.reconfigure(t, func(cfg *ClientConfig) {
			cfg.Services = []Service{{Port: three, Target: target}, {Port: one, Target: target, Rate: 1 << 30}}
		})
		g.settle(t)
		users.more(t)
		require.Equal(t, fmt.Sprint(three), g.Services()[0].Name)
		works(t, g)
		_, err := net.DialTimeout("tcp", public[1], patience)
		require.Error(t, err, "a service that is gone")
		l, err := net.Listen("tcp", public[1])
		require.NoError(t, err, "its port is free")
		l.Close()
		again := dialUser(t, public[0])
		send(t, again, "still")
		receive(t, again, "still")

		// And a session that takes over.
		g.reconfigure(t, func(cfg *ClientConfig) { cfg.PoolMin = 4 })
		eventually(t, func() bool { return h.log.count("joined") == 2 }, h.log.text)
		users.more(t)
		works(t, g)
		users.finish()
		require.EqualValues(t, 0, h.Stats().NoAck)
		require.Equal(t, 1, h.Stats().Sessions)
		require.Len(t, h.Stats().Services, 2)
	})
}

// TestReconfigureChangesAService: what changes of a service holds for those who
// come; its port does not close.
func TestReconfigureChangesAService(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	says := func(what string) string {
		return startTarget(t, func(c *net.TCPConn) { io.WriteString(c, what); io.Copy(c, c) })
	}
	first, second := says("first"), says("second")
	port := freePort(t)
	g := startClient(t, h, first, func(cfg *ClientConfig) { cfg.Services = []Service{{Name: "a", Port: port, Target: first}} })
	user := g.dial(t)
	receive(t, user, "first")
	lines := h.log.count("is up on")

	g.reconfigure(t, func(cfg *ClientConfig) { cfg.Services[0].Target, cfg.Services[0].Rate = second, 1<<20 })
	other := g.dial(t)
	receive(t, other, "second")
	send(t, user, "still")
	receive(t, user, "still")
	require.Equal(t, lines, h.log.count("is up on"), "the server need not know")

	g.reconfigure(t, func(cfg *ClientConfig) {
		cfg.Services[0].Name, cfg.Services[0].AllowFrom = "b", prefixes(t, "192.0.2.0/24")
	})
	eventually(t, func() bool { return h.Stats().Services[0].Name == "b" }, h.log.text)
	turnsAway(t, g.public(0))
	send(t, other, "still")
	receive(t, other, "still")
	require.Zero(t, h.log.count("is withdrawn"), "the port never closed")
	g.reconfigure(t, func(cfg *ClientConfig) { cfg.Services[0].AllowFrom = nil })
	eventually(t, func() bool {
		c, err := net.Dial("tcp", g.public(0))
		if err != nil { // it was reset already
			return false
		}
		defer c.Close()
		b := make([]byte, 6)
		_, err = io.ReadFull(c, b)
		return err == nil && string(b) == "second"
	}, h.log.text)
	require.Equal(t, 1, h.log.count("joined"))
}

// TestReconfigureSwapsPorts: two services change ports with each other, in one go.
func TestReconfigureSwapsPorts(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	target := startTarget(t, echo)
	one, two := freePort(t), freePort(t)
	g := startClient(t, h, target, func(cfg *ClientConfig) {
		cfg.Services = []Service{{Name: "a", Network: "tcp", Port: one, Target: target}, {Name: "b", Network: "tcp", Port: two, Target: target}}
	})
	g.reconfigure(t, func(cfg *ClientConfig) { cfg.Services[0].Port, cfg.Services[1].Port = two, one })
	g.settle(t)
	eventually(t, func() bool {
		for _, st := range h.Stats().Services {
			if st.Name == "a" && portOf(t, st.Addr) != two || st.Name == "b" && portOf(t, st.Addr) != one {
				return false
			}
		}
		return len(h.Stats().Services) == 2
	}, h.log.text)
	works(t, g)
}

// TestReconfigureInvalid: what cannot work changes nothing.
// TestReconfigureAnotherName: the same server under another name takes the client for a
// second one with its identity, until the session of the first name has made way. No
// warning tells the person to look for another client.
func TestReconfigureAnotherName(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	g := startClient(t, h, startTarget(t, echo))
	_, port, err := net.SplitHostPort(g.cfg.Load().Server)
	require.NoError(t, err)
	g.reconfigure(t, func(cfg *ClientConfig) { cfg.Server = net.JoinHostPort("localhost", port) })
	g.settle(t)
	works(t, g)
	require.NotZero(t, h.log.count("has the same identity, and answers"))
	require.Zero(t, g.log.count("another client with the same identity"), "%s", g.log.text())
}

func TestReconfigureInvalid(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	target := startTarget(t, echo)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	g := startClient(t, h, target, func(cfg *ClientConfig) {
		cfg.Forwards = []Forward{{Name: "there", Listen: "127.0.0.1:0", Target: "db:1"}}
	}, func(cfg *ClientConfig) { cfg.Forwards = nil })
	before := g.cfg.Load()
	user := g.dial(t)
	send(t, user, "in")
	receive(t, user, "in")
	services := g.Services()
	for name, change := range map[string]func(*ClientConfig){
		"no server":      func(cfg *ClientConfig) { cfg.Server = "" },
		"no key":         func(cfg *ClientConfig) { cfg.Key = pool.Key{} },
		"nothing to do":  func(cfg *ClientConfig) { cfg.Services = nil },
		"a name twice":   func(cfg *ClientConfig) { cfg.Services = append(cfg.Services, cfg.Services[0]) },
		"a bad target":   func(cfg *ClientConfig) { cfg.Services = []Service{{Name: "new", Target: "nowhere"}} },
		"a bad pool":     func(cfg *ClientConfig) { cfg.PoolMin = cfg.PoolMax + 1 },
		"a bad TLS mode": func(cfg *ClientConfig) { cfg.TLS = "9" },
		"a taken address": func(cfg *ClientConfig) {
			cfg.Services = []Service{{Name: "new", Target: target}}
			cfg.Forwards = []Forward{{Name: "f", Listen: "127.0.0.1:0", Target: "db:1"}, {Name: "g", Listen: taken.Addr().String(), Target: "db:1"}}
		},
	} {
		cfg := *before
		change(&cfg)
		_, err := g.Reconfigure(cfg)
		require.Error(t, err, name)
		require.Same(t, before, g.cfg.Load(), name)
		require.Equal(t, services, g.Services(), name)
		require.Empty(t, g.Forwards(), name)
	}
	send(t, user, "still")
	receive(t, user, "still")
	require.Equal(t, 1, h.log.count("joined"))
	require.Equal(t, 1, h.log.count("is up on"))

	cfg := *before
	cfg.Identity, cfg.Logger = [16]byte{1}, new(recorder)
	cfg.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }
	restart, err := g.Reconfigure(cfg)
	require.NoError(t, err)
	require.Equal(t, []string{"Identity", "Dial", "Logger"}, restart)
	works(t, g)
	require.Equal(t, 1, h.log.count("joined"))

	g.Close()
	_, err = g.Reconfigure(*before)
	require.ErrorIs(t, err, ErrStopping)
}
