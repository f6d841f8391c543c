package tunnel

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
)

// dials keeps the connections that a client dialed, in order: the first is its
// control connection.
type dials struct {
	mu    sync.Mutex
	conns []net.Conn
}

func (d *dials) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		d.mu.Lock()
		d.conns = append(d.conns, conn)
		d.mu.Unlock()
	}
	return conn, err
}

// onePooled lets a session have one pooled connection beside its carriers.
func onePooled(cfg *ServerConfig) { cfg.MaxPooled = 1 + DefaultCarriers }

// carriedOnly is, with onePooled, a client whose one pooled connection has a user already, so
// that all others come on carriers.
func carriedOnly(t *testing.T, h *host, handle func(*net.TCPConn), change ...func(*ClientConfig)) *guest {
	t.Helper()
	first := make(chan struct{}, 1)
	first <- struct{}{}
	target := startTarget(t, func(c *net.TCPConn) {
		select {
		case <-first:
			echo(c)
		default:
			handle(c)
		}
	})
	g := startClient(t, h, target, append(change, func(cfg *ClientConfig) { cfg.PoolMin, cfg.PoolMax = 1, 1 })...)
	carriersUp(t, h, g.cfg.Load().Carriers)
	user := g.dial(t)
	user.SetDeadline(time.Time{})
	send(t, user, "the pooled one")
	receive(t, user, "the pooled one")
	require.Zero(t, h.Stats().Carried)
	return g
}

// carriersUp waits until the server has so many carriers of each session.
func carriersUp(t *testing.T, h *host, n int) {
	t.Helper()
	eventually(t, func() bool {
		for _, c := range h.allSessions() {
			if c.carriers.count() != n {
				return false
			}
		}
		return true
	}, h.log.text)
}

// TestCarriedBurst: users who come all at once are served at once, each with his
// own bytes, though the pool has next to nothing.
func TestCarriedBurst(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		const users = 200
		h := startServer(t, mode)
		g := startClient(t, h, startTarget(t, echo), func(cfg *ClientConfig) { cfg.PoolMin, cfg.PoolMax = 4, 4 })
		carriersUp(t, h, DefaultCarriers)
		var all, served sync.WaitGroup
		served.Add(users)
		for i := range users {
			c := g.dial(t)
			all.Go(func() { // ends with the answer
				text := strings.Repeat(string(rune('a'+i%26)), 1+i*997%90_000)
				go io.WriteString(c, text) // ends with c
				got := make([]byte, len(text))
				_, err := io.ReadFull(c, got)
				served.Done()
				if err != nil || string(got) != text {
					t.Errorf("user %d: %v, or not his own bytes", i, err)
				}
				served.Wait() // all are there at the same time
				c.CloseWrite()
				if _, err := c.Read(got); err != io.EOF {
					t.Errorf("user %d: %v at the end", i, err)
				}
			})
		}
		all.Wait()
		eventually(t, func() bool { return h.Stats().Open == 0 && g.Stats().Open == 0 }, h.log.text)
		st := h.Stats()
		require.Greater(t, st.Carried, uint64(users/2), "the pool has 4, and dials for more without haste")
		require.Zero(t, st.Timeouts)
		t.Logf("%d of %d users carried, %d asked about, pool %+v", st.Carried, users, st.Asked, g.Stats().Pool)
	})
}

// TestCarriedEnds: half-closes and resets, each way, and a target that is down.
func TestCarriedEnds(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		h := startServer(t, mode, onePooled)
		over := make(chan error, 1)
		g := carriedOnly(t, h, func(c *net.TCPConn) {
			what := make([]byte, 1)
			io.ReadFull(c, what)
			switch what[0] {
			case 'q': // the question ends, then comes the answer
				question, _ := io.ReadAll(c)
				io.WriteString(c, "you said "+string(question))
			case 'a': // the answer ends, then comes the question
				io.WriteString(c, "all")
				c.CloseWrite()
				_, err := io.Copy(io.Discard, c)
				over <- err
			case 'r':
				reset(c)
			case 'u':
				_, err := io.Copy(io.Discard, c)
				over <- err
			}
		})
		before := h.Stats().Carried

		c := g.dial(t)
		send(t, c, "question")
		c.CloseWrite()
		answer, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Equal(t, "you said uestion", string(answer))

		c = g.dial(t)
		send(t, c, "a")
		answer, err = io.ReadAll(c)
		require.NoError(t, err)
		require.Equal(t, "all", string(answer))
		send(t, c, strings.Repeat("and more ", 100_000))
		c.CloseWrite()
		require.NoError(t, <-over)

		c = g.dial(t)
		send(t, c, "r")
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)

		c = g.dial(t)
		send(t, c, "u and more")
		reset(c)
		require.ErrorIs(t, <-over, syscall.ECONNRESET)

		require.EqualValues(t, 4, h.Stats().Carried-before)
		carriersUp(t, h, DefaultCarriers)
	})
}

// TestCarrierLost: with a carrier its streams are lost, and users see a reset.
// Those of the other go on, and whoever comes next is served.
func TestCarrierLost(t *testing.T) {
	h := startServer(t, pool.TLSSelfSigned, onePooled)
	g := carriedOnly(t, h, echo)
	users := make([]*net.TCPConn, 6)
	for i := range users {
		users[i] = g.dial(t)
		send(t, users[i], "in")
		receive(t, users[i], "in")
	}
	session := h.allSessions()[0]
	lost := session.carriers.list()[0]
	lost.Close()
	resets := 0
	for _, c := range users {
		_, err := io.WriteString(c, "again") // fails if the reset is here already
		if err == nil {
			_, err = io.ReadFull(c, make([]byte, 5))
		}
		if err != nil {
			require.ErrorIs(t, err, syscall.ECONNRESET)
			resets++
		}
	}
	require.Equal(t, len(users)/2, resets, "they are spread evenly")
	works(t, g)
}

// TestCarrierReplaced: a client whose carriers are lost has others soon.
func TestCarrierReplaced(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	startClient(t, h, startTarget(t, echo))
	carriersUp(t, h, DefaultCarriers)
	lost := h.allSessions()[0].carriers.list()
	for _, n := range lost {
		n.Close()
	}
	eventually(t, func() bool {
		all := h.allSessions()[0].carriers.list()
		return len(all) == DefaultCarriers && !slices.Contains(lost, all[0]) && !slices.Contains(lost, all[1])
	}, h.log.text)
}

// TestCarriedOutlivesSession: a user on a carrier goes on when the control
// connection is lost, and is served to the end.
func TestCarriedOutlivesSession(t *testing.T) {
	h := startServer(t, pool.TLSSelfSigned, onePooled)
	d := new(dials)
	g := carriedOnly(t, h, echo, func(cfg *ClientConfig) { cfg.Dial = d.dial })
	c := g.dial(t)
	send(t, c, "before")
	receive(t, c, "before")
	d.mu.Lock()
	d.conns[0].Close()
	d.mu.Unlock()
	eventually(t, func() bool { return h.log.count("joined") == 2 }, h.log.text)
	send(t, c, "after")
	receive(t, c, "after")
	works(t, g.up(t))
	c.CloseWrite()
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

// TestCarrierComesToWaiters: users who wait since there is neither a pooled
// connection nor a carrier are served by the first carrier that comes.
func TestCarrierComesToWaiters(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	held := make(chan struct{})
	d := new(dials)
	cfg := h.clientConfig(startTarget(t, echo))
	cfg.PoolMin, cfg.PoolMax = 1, 1
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		d.mu.Lock()
		first := len(d.conns) < 2 // control and the pool, or a carrier
		d.mu.Unlock()
		if !first {
			select {
			case <-held:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return d.dial(ctx, network, address)
	}
	g := runClient(t, cfg) // its pool may have to wait, too
	ctx, cancel := contextFor(t, patience)
	defer cancel()
	require.NoError(t, g.Up(ctx))
	var all sync.WaitGroup
	for range 5 {
		c := g.dial(t)
		all.Go(func() { // ends with the answer
			io.WriteString(c, "hello")
			if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, func() bool { return h.Stats().Open == 5 }, h.log.text)
	close(held)
	all.Wait()
}

// TestNoCarriers: a client may do without; then users wait for a dial.
func TestNoCarriers(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	g := startClient(t, h, startTarget(t, echo), func(cfg *ClientConfig) { cfg.PoolMin, cfg.PoolMax, cfg.Carriers = 1, 1, -1 })
	for range 10 {
		c := g.dial(t)
		send(t, c, "hello")
		receive(t, c, "hello")
	}
	require.Zero(t, h.Stats().Carried)
	require.Zero(t, h.allSessions()[0].carriers.count())
}

// TestStrangersCarriers: only the session's own key brings a carrier in, and
// only so many; a client that breaks the rules on one loses it and no more.
func TestStrangersCarriers(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	control, w := h.join(t, h.key, "guest")
	hello := func(n uint16) []byte { return wire.AppendCarrier(nil, wire.Carrier{Session: w.Session, Number: n}) }
	own := h.key.Session(w.Secret[:])
	for name, knock := range map[string]struct {
		key   pool.Key
		hello []byte
	}{
		"the key alone":          {h.key, hello(1)},
		"another session's":      {h.key.Session([]byte("a guess")), hello(1)},
		"no such session":        {own, wire.AppendCarrier(nil, wire.Carrier{Number: 1})},
		"a pooled one's hello":   {own, w.Session[:]},
		"a hello that goes on":   {own, append(hello(1), 0)},
		"another client's key":   {pool.NewKey(), hello(1)},
		"a session and no other": {own, nil},
	} {
		_, err := h.knock(t, knock.key, wire.KindCarrier, knock.hello)
		require.ErrorIs(t, err, pool.ErrRefused, name)
	}
	carriers := make([]net.Conn, maxCarriers)
	for i := range carriers {
		var err error
		carriers[i], err = h.knock(t, own, wire.KindCarrier, hello(uint16(i)))
		require.NoError(t, err)
	}
	carriersUp(t, h, maxCarriers)
	for _, n := range []uint16{0, maxCarriers} {
		conn, err := h.knock(t, own, wire.KindCarrier, hello(n))
		require.NoError(t, err)
		_, err = io.ReadAll(conn)
		require.NoError(t, err, "it is closed")
	}
	carriers[0].Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	carriersUp(t, h, maxCarriers-1)
	control.Write(wire.AppendMessage(nil, wire.Ping{Nonce: 5}))
	for pong := false; !pong; {
		m, err := wire.ReadMessage(control, nil)
		require.NoError(t, err)
		pong = m == wire.Pong{Nonce: 5}
	}
}
