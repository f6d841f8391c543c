package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/faults"
	"github.com/tunnelpool/pool/internal/wire"
)

// TestGroupTargetDown: a client whose target is down ends its users soonest and
// so has the fewest. It does not get all that come.
func TestGroupTargetDown(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	port := freePort(t)
	closed := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	bad := startClient(t, h, closed, sharing("bad", port))
	good := startClient(t, h, telling(t, "a"), sharing("good", port))
	for range 50 {
		if c, err := net.Dial("tcp", good.public(0)); err == nil { // the reset can be as fast as the dial
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			io.ReadFull(c, make([]byte, 1))
		}
		eventually(t, func() bool { return h.Stats().Streams == bad.Stats().Streams+good.Stats().Streams }, h.log.text)
		eventually(t, func() bool { return int(good.Stats().Streams) == h.Stats().Open }, h.log.text)
	}
	require.EqualValues(t, 50, bad.Stats().Streams+good.Stats().Streams)
	require.LessOrEqual(t, bad.Stats().Refused, uint64(7), "users that met the target that is down")
	t.Logf("%d of 50 users met the target that is down", bad.Stats().Refused)
}

// TestGroupOfTheUnwilling: a client that registers and never has a connection,
// and one that has them and never takes a user. They have the fewest users; all
// go on to the one that serves.
func TestGroupOfTheUnwilling(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	port := freePort(t)
	register := wire.Register{Ref: 1, Network: wire.NetworkTCP, Port: port, Bind: "127.0.0.1", Name: "web", Group: "blue"}
	lazy, _ := h.joinAs(t, h.key, wire.Join{Identity: [16]byte{1}, Instance: [16]byte{1}, Name: "lazy"})
	say(t, lazy, register)
	require.Empty(t, answers[wire.Registered](t, lazy, 1)[0].Text)
	mute, w := h.joinAs(t, h.key, wire.Join{Identity: [16]byte{2}, Instance: [16]byte{2}, Name: "mute"})
	say(t, mute, register)
	require.Empty(t, answers[wire.Registered](t, mute, 1)[0].Text)
	for range 8 {
		_, err := h.knock(t, h.key.Session(w.Secret[:]), wire.KindPool, w.Session[:])
		require.NoError(t, err)
	}
	keepAnswering(t, lazy)
	keepAnswering(t, mute)
	var served atomic.Int64
	g := startClient(t, h, telling(t, "a"), func(cfg *ClientConfig) {
		sharing("willing", port)(cfg)
		cfg.Services[0].Bind = "127.0.0.1"
	})
	begun := time.Now()
	for range 100 {
		c := dialUser(t, g.public(0))
		receive(t, c, "a")
		served.Add(1)
	}
	t.Logf("%d users, who said nothing, were served after %v; %d were offered to others before", served.Load(), time.Since(begun).Round(time.Millisecond), h.Stats().Replays)
	require.LessOrEqual(t, h.Stats().Replays, uint64(8), "users that were offered to the mute client")
}

// TestGroupFrozen: a client answers nothing any more, and its session is not over
// for long. Only those who come before that shows wait; nobody is tried on it
// until it gives a sign of life, and then it has its part again.
func TestGroupFrozen(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Heartbeat = time.Minute })
	port := freePort(t)
	link, err := faults.NewLink(h.addr(), 0)
	require.NoError(t, err)
	t.Cleanup(link.Close)
	startClient(t, h, telling(t, "a"), sharing("a", port), func(cfg *ClientConfig) {
		cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return link.Dial(ctx) }
	})
	g := startClient(t, h, telling(t, "b"), sharing("b", port))
	link.Stall(0, 1<<20)
	first := dialUser(t, g.public(0))
	eventually(t, func() bool { return h.log.count(`client "a" failed a user`) == 1 || g.Stats().Open > 0 }, h.log.text)
	if g.Stats().Open > 0 { // the first was b's
		first = dialUser(t, g.public(0))
		h.log.find(t, `client "a" failed a user`)
	}
	for range 30 {
		begun := time.Now()
		who, c := told(t, g.public(0))
		require.Equal(t, "b", who)
		c.Close()
		pause(t.Context(), 100*time.Millisecond) // users come for longer than any doubt of this lasts
		require.Less(t, time.Since(begun), 2*time.Second)
	}
	require.Equal(t, 1, h.log.count("failed a user"))
	link.Stall(0, 0)
	_, err = io.ReadFull(first, make([]byte, 1)) // from either
	require.NoError(t, err)
	eventually(t, func() bool {
		who, c := told(t, g.public(0))
		c.Close()
		return who == "a"
	}, h.log.text)
}

// TestGroupWaitsForAny: users wait, since no client of the group has a
// connection. They are served by whichever has one.
func TestGroupWaitsForAny(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	port := freePort(t)
	welcome := make(map[string]wire.Welcome)
	control := make(map[string]net.Conn)
	for i, name := range []string{"a", "b"} {
		id := [16]byte{byte(1 + i)}
		control[name], welcome[name] = h.joinAs(t, h.key, wire.Join{Identity: id, Instance: id, Name: name})
		say(t, control[name], wire.Register{Ref: 1, Network: wire.NetworkTCP, Port: port, Bind: "127.0.0.1", Name: "web", Group: "blue"})
		require.Empty(t, answers[wire.Registered](t, control[name], 1)[0].Text)
	}
	waiting := func(name string) (n int) {
		for _, c := range h.allSessions() {
			if c.who.Name == name {
				n = c.pool.Stats().Waiting
			}
		}
		return n
	}
	public := h.Stats().Services[0].Addr
	var users []string
	for i := range 4 {
		users = append(users, dialUser(t, public).LocalAddr().String())
		eventually(t, func() bool { return waiting("a")+waiting("b") == i+1 }, h.log.text)
	}
	require.Equal(t, 2, waiting("a"))
	require.Equal(t, 2, waiting("b"))
	met := make(map[string]bool)
	for range users { // b has nothing for those who wait there
		w := welcome["a"]
		_, err := h.knock(t, h.key.Session(w.Secret[:]), wire.KindPool, w.Session[:])
		require.NoError(t, err)
		met[answers[wire.Open](t, control["a"], 1)[0].User] = true
	}
	for _, user := range users {
		require.True(t, met[user])
	}
	require.Zero(t, waiting("a")+waiting("b"))
}

// TestGroupLostBeforeACK: a client is lost that was offered two users and has
// taken neither. The one who has said nothing is another's at once; what the
// other one said may have been read, so that it is offered to nobody.
func TestGroupLostBeforeACK(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Wait = 2 * time.Second })
	port := freePort(t)
	control, w := h.joinAs(t, h.key, wire.Join{Identity: [16]byte{1}, Instance: [16]byte{1}, Name: "by hand"})
	say(t, control, wire.Register{Ref: 1, Network: wire.NetworkTCP, Port: port, Bind: "127.0.0.1", Name: "web", Group: "blue"})
	public := answers[wire.Registered](t, control, 1)[0].Addr
	var conns []net.Conn
	for range 2 {
		c, err := h.knock(t, h.key.Session(w.Secret[:]), wire.KindPool, w.Session[:])
		require.NoError(t, err)
		conns = append(conns, c)
	}
	eventually(t, func() bool { return h.Stats().Pools[0].Idle == 2 }, h.log.text)
	target := &counting{seen: make(map[string]int)}
	startClient(t, h, startTarget(t, target.serve), func(cfg *ClientConfig) {
		sharing("other", port)(cfg)
		cfg.Services[0].Bind = "127.0.0.1"
	})
	occupied := h.occupy(t, "other") // so that the next two are for the one that is lost
	silent, spoken := dialUser(t, public), dialUser(t, public)
	send(t, spoken, "said")
	opens := answers[wire.Open](t, control, 2)
	for _, c := range conns { // what was said is on its way
		var id pool.ID
		_, err := io.ReadFull(c, id[:])
		require.NoError(t, err)
		for _, o := range opens {
			if o.ID == id && o.User == spoken.LocalAddr().String() {
				_, err = io.ReadFull(c, make([]byte, 2*wire.FrameHeaderSize+len("said")))
				require.NoError(t, err)
			}
		}
	}
	occupied()
	begun := time.Now()
	control.Close()
	for _, c := range conns {
		c.Close()
	}
	eventually(t, func() bool { return h.Stats().Replays == 1 }, h.log.text)
	answer, err := ask(silent, "said later")
	require.NoError(t, err)
	require.Equal(t, "got said later", answer)
	taker := serviceNamed(t, h.Stats().Services, "web").Traffic
	require.EqualValues(t, 1, taker.Retries, "counted where the user was taken")
	require.EqualValues(t, len("said later"), taker.FromUsers)
	require.Less(t, time.Since(begun), h.cfg.Load().Wait)
	_, err = io.ReadAll(spoken)
	require.ErrorIs(t, err, syscall.ECONNRESET)
	target.mu.Lock()
	defer target.mu.Unlock()
	require.Equal(t, map[string]int{"said later": 1}, target.seen)
}

// occupy makes a client of a group look as if it had many users, until the
// returned function is called.
func (h *host) occupy(t *testing.T, name string) (free func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.publishers {
		if p.name == name {
			b := p.services[0].of(p)
			b.open.Add(100)
			return func() { b.open.Add(-100) }
		}
	}
	t.Fatalf("no client is called %q", name)
	return nil
}

// TestGroupRemembersUsers: a client that lost its control connection has its
// users still when it is back.
func TestGroupRemembersUsers(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	port := freePort(t)
	var control cable
	var others atomic.Bool
	a := startClient(t, h, telling(t, "a"), sharing("a", port), func(cfg *ClientConfig) {
		cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if !others.Swap(true) { // control comes first
				return control.dial(ctx, network, addr)
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	})
	startClient(t, h, telling(t, "b"), sharing("b", port))
	users := make(map[string][]*net.TCPConn)
	come := func(count int) {
		for range count {
			who, c := told(t, a.public(0))
			users[who] = append(users[who], c)
		}
	}
	come(10)
	control.cut()
	eventually(t, func() bool { return h.log.count(`"a" at 127.0.0.1`) >= 3 }, h.log.text) // joined, left, joined
	a.up(t)
	come(4)
	h.spread(t, 7, len(users["a"]))
	for _, c := range users["a"] {
		send(t, c, "still here")
		receive(t, c, "still here")
	}
}

// keepAnswering answers pings, and nothing else, until the connection ends.
func keepAnswering(t *testing.T, control net.Conn) {
	control.SetDeadline(time.Time{})
	var reading sync.WaitGroup
	t.Cleanup(func() {
		control.Close()
		reading.Wait()
	})
	reading.Go(func() { // ends with the connection
		for {
			m, err := wire.ReadMessage(control, nil)
			if err != nil {
				return
			}
			if p, ok := m.(wire.Ping); ok {
				control.Write(wire.AppendMessage(nil, wire.Pong(p)))
			}
		}
	})
}

// TestGroupUnderFire: clients come and go while users do. Every user who is
// not on a client that is cut off is served.
func TestGroupUnderFire(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	port := freePort(t)
	target := startTarget(t, echo)
	startClient(t, h, target, sharing("steady", port))
	lines := make([]cable, 3)
	var shaky []*guest
	for i := range lines {
		shaky = append(shaky, startClient(t, h, target, sharing(fmt.Sprint("shaky ", i), port), func(cfg *ClientConfig) { cfg.Dial = lines[i].dial }))
	}
	public := h.Stats().Services[0].Addr
	ctx, stop := context.WithCancel(t.Context())
	var shaking, users sync.WaitGroup
	for i := range lines {
		shaking.Go(func() {
			for ctx.Err() == nil {
				pause(ctx, time.Duration(rand.IntN(100))*time.Millisecond)
				lines[i].cut()
				pause(ctx, time.Duration(rand.IntN(100))*time.Millisecond)
				lines[i].mend()
			}
		})
	}
	var whole, broken atomic.Int64
	for range 16 {
		users.Go(func() {
			for i := range 50 {
				c, err := net.Dial("tcp", public)
				switch {
				case errors.Is(err, syscall.ECONNRESET): // before the call came back
					broken.Add(1)
					continue
				case err != nil:
					t.Errorf("user %d was refused: %v", i, err) // the port is open all the time
					return
				}
				c.SetDeadline(time.Now().Add(patience))
				said := fmt.Sprintf("user %d", i)
				io.WriteString(c, said)
				got := make([]byte, len(said))
				if _, err := io.ReadFull(c, got); err == nil && string(got) == said {
					whole.Add(1)
				} else {
					broken.Add(1)
				}
				c.Close()
			}
		})
	}
	users.Wait()
	stop()
	shaking.Wait()
	t.Logf("%d users were served, %d were on a client that was cut off", whole.Load(), broken.Load())
	require.Greater(t, whole.Load(), broken.Load())
	for i := range lines {
		lines[i].mend()
	}
	eventually(t, func() bool {
		for _, g := range shaky {
			g.rouse() // it may pause for half a minute after so many sessions that ended
		}
		return h.Stats().Open == 0 && len(h.Stats().Services) == 1+len(lines)
	}, h.log.text)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.publishers {
		for _, sv := range p.services {
			for _, b := range sv.backends {
				require.Zero(t, b.open.Load(), "users that are counted with %s", b.owner.name)
			}
		}
	}
}

// pause waits for a while, or less if ctx ends.
func pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}

// TestGroupBackAlone: the only client of a group fails a user, is lost before it
// gives a sign of life, and comes back. It has its part when others join.
func TestGroupBackAlone(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	port := freePort(t)
	id := [16]byte{1}
	control, w := h.joinAs(t, h.key, wire.Join{Identity: id, Instance: id, Name: "a"})
	say(t, control, wire.Register{Ref: 1, Network: wire.NetworkTCP, Port: port, Name: "web", Group: "blue"})
	public := answers[wire.Registered](t, control, 1)[0].Addr
	conn, err := h.knock(t, h.key.Session(w.Secret[:]), wire.KindPool, w.Session[:])
	require.NoError(t, err)
	go io.Copy(io.Discard, conn) // ends when conn is closed
	dialUser(t, public)
	number := answers[wire.Open](t, control, 1)[0].Stream
	frames := wire.AppendFrame(nil, wire.FrameAck, number)
	_, err = conn.Write(wire.AppendFrame(frames, wire.FrameReset, number, byte(wire.ResetRefused)))
	require.NoError(t, err)
	conn.Close()
	eventually(t, func() bool { return h.Stats().Open == 0 }, h.log.text)
	control.Close()
	h.away(t)

	startClient(t, h, telling(t, "a"), sharing("a", port), func(cfg *ClientConfig) { cfg.Identity = id })
	startClient(t, h, telling(t, "b"), sharing("b", port))
	eventually(t, func() bool {
		who, c := told(t, public)
		c.Close()
		return who == "a"
	}, h.log.text)
}
