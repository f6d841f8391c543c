package tunnel

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// serviceNamed finds a service of a server's by name.
func serviceNamed(t testing.TB, all []ServiceStatus, name string) ServiceStatus {
	t.Helper()
	for _, s := range all {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no service %q in %+v", name, all)
	return ServiceStatus{}
}

// TestTrafficWhileItPasses: both ends tell of users who are still there, by
// service, and of the session they are on.
func TestTrafficWhileItPasses(t *testing.T) {
	h := startServer(t, pool.TLSSelfSigned)
	busy, idle := startTarget(t, echo), startTarget(t, echo)
	before := time.Now()
	g := startClient(t, h, busy, func(cfg *ClientConfig) {
		cfg.Services = append(cfg.Services, Service{Name: "idle", Target: idle})
	})
	user := g.dial(t)
	send(t, user, "12345")
	receive(t, user, "12345")
	send(t, user, "678")
	receive(t, user, "678")

	st := h.Stats()
	web := serviceNamed(t, st.Services, "web")
	require.Equal(t, "guest", web.Client)
	require.EqualValues(t, 1, web.Traffic.Streams)
	require.Equal(t, 1, web.Traffic.Open)
	require.EqualValues(t, 8, web.Traffic.FromUsers)
	require.EqualValues(t, 8, web.Traffic.ToUsers)
	require.EqualValues(t, 1, web.Traffic.FirstByte.Count())
	require.Less(t, web.Traffic.FirstByte.Sum, patience)
	require.EqualValues(t, 1, st.FirstByte.Count())
	require.Zero(t, serviceNamed(t, st.Services, "idle").Traffic.Streams)
	require.Zero(t, st.Waiting)

	require.Len(t, st.Clients, 1)
	c := st.Clients[0]
	require.Equal(t, "guest", c.Client)
	require.Equal(t, h.key.ID().String(), c.Key, "a key without a name goes by its ID")
	require.True(t, c.Since.After(before) && c.Since.Before(time.Now()))
	require.Equal(t, 1, c.Open)
	require.EqualValues(t, 1, c.Pool.Hits)
	host, _, err := net.SplitHostPort(c.Addr)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1", host)
	eventually(t, func() bool { return h.Stats().Clients[0].RoundTrip > 0 }, func() string { return "no round trip" })
	eventually(t, func() bool {
		return h.Stats().Clients[0].Carriers == DefaultCarriers && g.Stats().Carriers == DefaultCarriers
	},
		func() string { return "the carriers are not counted" })

	mine := g.Stats()
	require.Equal(t, h.addr(), mine.Addr)
	require.True(t, mine.Since.After(before))
	web = serviceNamed(t, mine.Services, "web")
	require.Equal(t, 1, web.Traffic.Open)
	require.EqualValues(t, 1, web.Traffic.Streams)
	require.EqualValues(t, 8, web.Traffic.FromUsers)
	require.EqualValues(t, 8, web.Traffic.ToUsers)
	require.Zero(t, serviceNamed(t, mine.Services, "idle").Traffic.FromUsers)

	user.Close()
	eventually(t, func() bool {
		return serviceNamed(t, h.Stats().Services, "web").Traffic.Open == 0 && serviceNamed(t, g.Stats().Services, "web").Traffic.Open == 0
	}, func() string { return "the user is still counted" })
}

// TestFirstByteIsTheAnswers: the clock runs from the user's arrival to the first
// byte back, whatever the user says meanwhile.
func TestFirstByteIsTheAnswers(t *testing.T) {
	const think = 60 * time.Millisecond
	h := startServer(t, pool.TLSPlain)
	g := startClient(t, h, startTarget(t, func(c *net.TCPConn) {
		io.ReadFull(c, make([]byte, 5))
		time.Sleep(think)
		io.WriteString(c, "done")
	}))
	user := g.dial(t)
	send(t, user, "hello")
	require.Zero(t, h.Stats().FirstByte.Count(), "nothing has gone back")
	receive(t, user, "done")
	eventually(t, func() bool { return h.Stats().FirstByte.Count() == 1 }, func() string { return "it is not counted" })
	require.GreaterOrEqual(t, h.Stats().FirstByte.Sum, think)
}

// TestWaitingUsersAreCounted: those who wait for a client that is away.
func TestWaitingUsersAreCounted(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	var wires cable
	g := startClient(t, h, startTarget(t, echo), func(cfg *ClientConfig) { cfg.Dial = wires.dial })
	public := g.public(0)
	wires.cut()
	h.away(t)
	dialUser(t, public)
	dialUser(t, public)
	eventually(t, func() bool { return h.Stats().Waiting == 2 }, func() string { return "they are not counted" })
	web := serviceNamed(t, h.Stats().Services, "web")
	require.False(t, web.Up)
	require.Contains(t, web.Reason, "away")
	require.Empty(t, h.Stats().Clients)
}

// TestDeniedServicesAreTold: who looks at the server sees what a client may not have,
// as long as it wants it.
func TestDeniedServicesAreTold(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	cfg := h.clientConfig(startTarget(t, echo))
	cfg.Services = append(cfg.Services, Service{Name: "low", Port: 1, Target: "127.0.0.1:2"})
	g := runClient(t, cfg)
	until := func(what string, ok func(all []ServiceStatus) bool) {
		t.Helper()
		eventually(t, func() bool { return ok(h.Stats().Services) }, func() string { return fmt.Sprintf("%s: %+v", what, h.Stats().Services) })
	}
	until("it is told", func(all []ServiceStatus) bool { return len(all) == 2 && all[1].Up })
	low := serviceNamed(t, h.Stats().Services, "low")
	require.False(t, low.Up)
	require.Equal(t, serviceNamed(t, h.Stats().Services, "web").Client, low.Client)
	require.Contains(t, low.Reason, "denied: port 1 is not among those")
	require.Empty(t, low.Addr)

	less := cfg
	less.Services = cfg.Services[:1]
	_, err := g.Reconfigure(less)
	require.NoError(t, err)
	until("it is not wanted any more", func(all []ServiceStatus) bool { return len(all) == 1 })
	_, err = g.Reconfigure(cfg)
	require.NoError(t, err)
	until("it is again", func(all []ServiceStatus) bool { return len(all) == 2 })
	again := less
	again.Services = append(slices.Clone(less.Services), Service{Name: "low", Target: "127.0.0.1:2"})
	_, err = g.Reconfigure(again)
	require.NoError(t, err)
	until("it has another port", func(all []ServiceStatus) bool { return len(all) == 2 && all[0].Up && all[1].Up })
	g.Close()
	until("the client is gone", func(all []ServiceStatus) bool {
		return len(all) <= 2 && !slices.ContainsFunc(all, func(s ServiceStatus) bool { return s.Up })
	})
}

// TestForwardTraffic: users come at the client, targets are dialed at the server.
func TestForwardTraffic(t *testing.T) {
	target := startTarget(t, echo)
	h := startServer(t, pool.TLSSelfSigned, func(cfg *ServerConfig) { cfg.AllowForward = target })
	g := runClient(t, func() ClientConfig {
		cfg := h.clientConfig("")
		cfg.Services, cfg.Forwards = nil, []Forward{{Name: "db", Listen: "127.0.0.1:0", Target: target}}
		return cfg
	}())
	require.NoError(t, g.Up(t.Context()))
	user := dialUser(t, g.Forwards()[0].Addr)
	for _, word := range []string{"12", "345"} { // the first answer is counted before the second comes
		send(t, user, word)
		receive(t, user, word)
	}
	db := g.Stats().Forwards[0].Traffic
	require.Equal(t, 1, db.Open)
	require.EqualValues(t, 1, db.Streams)
	require.EqualValues(t, 5, db.FromUsers)
	require.EqualValues(t, 5, db.ToUsers)
	require.EqualValues(t, 1, db.FirstByte.Count())
	require.Positive(t, g.Stats().Forwarding.Created)

	there := h.Stats().Forwards
	require.Len(t, there, 1)
	require.Equal(t, target, there[0].Target)
	require.Equal(t, "guest", there[0].Client)
	require.Equal(t, 1, there[0].Traffic.Open)
	require.EqualValues(t, 5, there[0].Traffic.FromUsers)
	require.EqualValues(t, 5, there[0].Traffic.ToUsers)
	require.Positive(t, h.Stats().Clients[0].Forwarding.Out)
	user.Close()
	eventually(t, func() bool { return h.Stats().Forwards[0].Traffic.Open == 0 && g.Stats().Forwards[0].Traffic.Open == 0 },
		func() string { return "the user is still counted" })
}

// TestReady: neither end is before it serves, nor while it stops.
func TestReady(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Drain = -1 })
	eventually(t, func() bool { return h.Ready() == nil }, func() string { return h.Ready().Error() })
	cfg := h.clientConfig(startTarget(t, echo))
	idle, err := NewClient(cfg)
	require.NoError(t, err)
	require.ErrorContains(t, idle.Ready(), `"web" is not up: not connected yet`)
	idle.Close()
	require.ErrorContains(t, idle.Ready(), "stopping")

	g := startClient(t, h, startTarget(t, echo))
	require.NoError(t, g.Ready())
	h.stop()
	<-h.done
	require.ErrorContains(t, h.Ready(), "stopping")
	eventually(t, func() bool { return g.Ready() != nil }, func() string { return "ready without a server" })
	g.stop()
	<-g.done
	require.ErrorContains(t, g.Ready(), "stopping")
}

// TestStatsHaveNoSecrets: neither the key nor a session's secret is in what both
// ends tell.
func TestStatsHaveNoSecrets(t *testing.T) {
	h := startServer(t, pool.TLSSelfSigned)
	g := startClient(t, h, startTarget(t, echo))
	works(t, g)
	text := fmt.Sprintf("%+v %+v", h.Stats(), g.Stats())
	sessions := h.allSessions()
	require.Len(t, sessions, 1)
	for _, secret := range []string{
		h.key.Text(), fmt.Sprint(sessions[0].secret[:]), fmt.Sprintf("%x", sessions[0].secret[:]),
		base64.RawURLEncoding.EncodeToString(sessions[0].secret[:]), fmt.Sprintf("%x", sessions[0].id[:]),
	} {
		require.NotContains(t, text, secret)
	}
	require.Contains(t, text, h.key.ID().String(), "by which a key is known")
}
