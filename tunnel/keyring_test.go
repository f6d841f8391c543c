package tunnel

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
)

func TestGrants(t *testing.T) {
	key := pool.NewKey()
	for _, tt := range []struct {
		grant Grant
		want  string
	}{
		{Grant{}, "there is no key"},
		{Grant{Key: key, Name: "a b"}, `"a b" is not a key's name`},
		{Grant{Key: key, Name: "-a"}, `"-a" is not a key's name`},
		{Grant{Key: key, Name: "a\x1b[31m"}, "is not a key's name"},
		{Grant{Key: key, Ports: "x"}, `ports: "x" is not a port`},
		{Grant{Key: key, Forwards: "x"}, `forward: "x" is not HOST:PORT`},
		{Grant{Key: key, MaxStreams: -1}, "max-streams: -1 is negative"},
		{Grant{Key: key, Rate: -1}, "rate: -1 is negative"},
		{Grant{Key: key, Name: "anna-2.home_x", Ports: "none", Forwards: "none"}, ""},
	} {
		if err := tt.grant.Check(); tt.want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, tt.want)
		}
	}
	all := Grant{Key: key}
	require.True(t, all.MayPublish(80))
	require.True(t, all.MayForward("db.internal", 5432))
	none := Grant{Key: key, Ports: "none", Forwards: "none"}
	require.False(t, none.MayPublish(80))
	require.False(t, none.MayForward("db.internal", 5432))
	some := Grant{Key: key, Ports: "80", Forwards: "db.internal:5432"}
	require.True(t, some.MayPublish(80))
	require.False(t, some.MayPublish(81))
	require.True(t, some.MayForward("DB.internal", 5432))
	require.False(t, some.MayForward("db.internal", 22))
	require.False(t, Grant{Key: key, Forwards: "wrong"}.MayForward("wrong", 1), "what cannot be read allows nothing")
}

func TestKeyring(t *testing.T) {
	a, b := Grant{Name: "anna", Key: pool.NewKey()}, Grant{Name: "ben", Key: pool.NewKey()}
	k, err := NewKeyring(b, a)
	require.NoError(t, err)
	changed := k.Changed()
	for want, grants := range map[string][]Grant{
		`there are two keys called "anna"`:          {a, {Name: "anna", Key: pool.NewKey()}},
		`the keys "anna" and "carl" are the same`:   {a, {Name: "carl", Key: a.Key}},
		`key "carl": there is no key`:               {a, {Name: "carl"}},
		`key number 2: max-streams: -1 is negative`: {a, {Key: pool.NewKey(), MaxStreams: -1}},
	} {
		require.EqualError(t, k.Set(grants...), want)
	}
	require.Equal(t, 2, k.Len(), "an error changes nothing")
	require.Equal(t, "anna", k.Grants()[0].Name)
	select {
	case <-changed:
		require.Fail(t, "an error is no change")
	default:
	}
	require.NoError(t, k.Set(b))
	<-changed
	_, ok := k.Lookup(a.Key.ID())
	require.False(t, ok)
	got, ok := k.Lookup(b.Key.ID())
	require.True(t, ok)
	require.Equal(t, "ben", got.Name)

	_, err = NewServer(ServerConfig{Keyring: k, Keys: []pool.Key{a.Key}})
	require.EqualError(t, err, "tunnel: Keys: there is a Keyring too; put them on it")
}

// people is a server for two clients with a key each.
type people struct {
	*host
	ring      *Keyring
	anna, ben Grant
}

func startPeople(t *testing.T, mode pool.TLSMode, change ...func(*ServerConfig)) *people {
	t.Helper()
	p := &people{anna: Grant{Name: "anna", Key: pool.NewKey()}, ben: Grant{Name: "ben", Key: pool.NewKey()}}
	var err error
	p.ring, err = NewKeyring(p.anna, p.ben)
	require.NoError(t, err)
	p.host = startServer(t, mode, append([]func(*ServerConfig){func(cfg *ServerConfig) { cfg.Keys, cfg.Keyring = nil, p.ring }}, change...)...)
	return p
}

// set changes the keyring.
func (p *people) set(t *testing.T, grants ...Grant) {
	t.Helper()
	require.NoError(t, p.ring.Set(grants...))
}

func (p *people) client(t *testing.T, who Grant, target string, change ...func(*ClientConfig)) *guest {
	t.Helper()
	cfg := p.clientConfig(target)
	cfg.Key, cfg.Name = who.Key, who.Name+"'s"
	for _, f := range change {
		f(&cfg)
	}
	return runClient(t, cfg)
}

// TestRevokedKey: whatever belongs to a key ends at once when it is taken back,
// streams on connections of their own and on a carrier included. Others notice
// nothing.
func TestRevokedKey(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		p := startPeople(t, mode)
		target := startTarget(t, echo)
		anna := p.client(t, p.anna, target, func(cfg *ClientConfig) { cfg.PoolMin, cfg.PoolMax = 2, 2 }).up(t)
		ben := p.client(t, p.ben, target).up(t)
		public := anna.public(0)
		p.log.find(t, `"anna's" at 127.0.0.1:`)
		p.log.find(t, `joined (key "anna", `+p.anna.Key.ID().String()+`)`)

		var users []net.Conn
		for range 4 { // two pooled connections, and a carrier
			user := dialUser(t, public)
			send(t, user, "in")
			receive(t, user, "in")
			users = append(users, user)
		}
		require.NotZero(t, p.Stats().Carried)
		other := ben.dial(t)
		send(t, other, "in")
		receive(t, other, "in")
		stop := make(chan struct{})
		var busy sync.WaitGroup
		busy.Go(func() { // one that never rests, until it is cut
			defer close(stop)
			for {
				if _, err := io.WriteString(users[0], "more"); err != nil {
					return
				}
				if _, err := io.ReadFull(users[0], make([]byte, 4)); err != nil {
					return
				}
			}
		})
		eventually(t, func() bool { return p.Stats().Open == 5 }, p.log.text)

		begun := time.Now()
		p.set(t, p.ben)
		<-stop
		for _, user := range users[1:] {
			wasReset(t, user)
		}
		busy.Wait()
		eventually(t, func() bool { return p.Stats().Sessions == 1 && p.Stats().Open == 1 && len(p.Stats().Services) == 1 }, p.log.text)
		eventually(t, func() bool { return !anna.Stats().Connected }, anna.log.text)
		took := time.Since(begun)
		t.Logf("all over after %v", took)
		require.Less(t, took, 5*time.Second) // what is promised is a second, on a machine that has nothing else to do
		_, err := net.DialTimeout("tcp", public, patience)
		require.Error(t, err, "the port is closed")
		p.log.find(t, `is cut off: key "anna" is not valid any more`)
		anna.log.find(t, `The server says goodbye: key "anna" is not valid any more`)
		anna.log.find(t, "refused the key")

		send(t, other, "still")
		receive(t, other, "still")
		works(t, ben)

		p.set(t, p.anna, p.ben)
		works(t, anna.up(t)) // it never ceased to try
		require.NotContains(t, p.log.text()+anna.log.text(), p.anna.Key.Text())
	})
}

// TestRevokedKeyOfTheAbsent: the users who are held for a client whose key is
// taken back are turned away, and its port closes.
func TestRevokedKeyOfTheAbsent(t *testing.T) {
	p := startPeople(t, pool.TLSPlain)
	var line cable
	anna := p.client(t, p.anna, startTarget(t, echo), func(cfg *ClientConfig) { cfg.Dial = line.dial }).up(t)
	public := anna.public(0)
	line.cut()
	p.away(t)
	held := dialUser(t, public)
	eventually(t, func() bool { return p.Stats().Open == 1 }, p.log.text)
	p.set(t, p.ben)
	wasReset(t, held)
	eventually(t, func() bool { return len(p.Stats().Services) == 0 }, p.log.text)
	_, err := net.DialTimeout("tcp", public, patience)
	require.Error(t, err)
}

// TestRevokedKeyOfTheSilent: a stream at rest, which no goroutine looks after, is
// cut too.
func TestRevokedKeyOfTheSilent(t *testing.T) {
	p := startPeople(t, pool.TLSSelfSigned)
	anna := p.client(t, p.anna, startTarget(t, echo)).up(t)
	user := anna.dial(t)
	send(t, user, "in")
	receive(t, user, "in")
	copying := func() bool {
		stacks := make([]byte, 8<<20)
		return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "relay.(*stream).copyOut")
	}
	require.True(t, copying(), "or this test sees nothing")
	eventually(t, func() bool { return !copying() }, p.log.text)
	p.set(t, p.ben)
	wasReset(t, user)
	eventually(t, func() bool { return p.Stats().Open == 0 && p.Stats().Sessions == 0 }, p.log.text)
}

// TestKeysKnowNothingOfEachOther: a client with another key cannot take, end or
// see what a client has, whatever it says it is.
func TestKeysKnowNothingOfEachOther(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		p := startPeople(t, mode)
		port := freePort(t)
		identity := [16]byte{1, 2, 3}
		ben := p.client(t, p.ben, startTarget(t, echo), func(cfg *ClientConfig) {
			cfg.Name, cfg.Identity, cfg.Services[0].Name, cfg.Services[0].Port = "bens-secret-name", identity, "bens-secret-service", port
		}).up(t)
		user := ben.dial(t)
		send(t, user, "in")
		receive(t, user, "in")

		// Anna says that she is that client, and asks for its port and service.
		conn, _ := p.joinAs(t, p.anna.Key, wire.Join{Identity: identity, Instance: ben.numbers.instance, Name: "bens-secret-name", LastStream: 1 << 20})
		asked := []wire.Message{
			wire.Register{Ref: 0, Network: wire.NetworkTCP, Port: port, Name: "bens-secret-service"},
			wire.Register{Ref: 1, Network: wire.NetworkTCP, Port: port, Bind: "127.0.0.1"},
			wire.Canceled{Stream: 1, Outcome: wire.Committed}, // an answer about ben's user
		}
		say(t, conn, asked[:2]...)
		for _, r := range answers[wire.Registered](t, conn, 2) {
			require.Equal(t, wire.PortHeld, r.Code)
			require.Equal(t, fmt.Sprintf("port %d is held by a client with another key", port), r.Text)
		}
		say(t, conn, asked[2], wire.GoAway{Code: wire.Shutdown})
		eventually(t, func() bool { return p.Stats().Sessions == 1 }, p.log.text)

		send(t, user, "still in")
		receive(t, user, "still in")
		works(t, ben)
		require.Equal(t, 1, p.log.count(`joined (key "ben"`))
		require.EqualValues(t, port, portOf(t, ben.public(0)))
	})
}

// TestKeysComeAndGo: keys change while clients join, register and are used.
func TestKeysComeAndGo(t *testing.T) {
	p := startPeople(t, pool.TLSPlain)
	target := startTarget(t, echo)
	anna := p.client(t, p.anna, target, func(cfg *ClientConfig) {
		for i := range 8 {
			cfg.Services = append(cfg.Services, Service{Name: strconv.Itoa(i), Target: target})
		}
	})
	ben := p.client(t, p.ben, target).up(t)
	public := ben.public(0)
	done := make(chan struct{})
	var tasks sync.WaitGroup
	tasks.Go(func() {
		defer close(done)
		for i := range 100 {
			who := []Grant{p.ben}
			if i%3 > 0 {
				p.anna.MaxStreams, p.anna.Ports = i%7, []string{"", "1024-65535", "none"}[i%3]
				who = append(who, p.anna)
			}
			if err := p.ring.Set(who...); err != nil {
				t.Error(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%5)*5*time.Millisecond)
			_ = anna.Up(ctx) // now and then it is
			cancel()
			for _, st := range anna.Services() {
				if c, err := net.DialTimeout("tcp", st.Addr, patience); st.Up && err == nil {
					c.Close()
				}
			}
		}
	})
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			user := dialUser(t, public)
			send(t, user, "in")
			receive(t, user, "in")
			user.Close()
		}
	}
	tasks.Wait()
	p.set(t, p.ben, Grant{Name: "anna", Key: p.anna.Key})
	works(t, anna.up(t))
	works(t, ben)
	require.Equal(t, 1, p.log.count(`joined (key "ben"`))
	p.set(t, p.ben)
	eventually(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.holders) == 1 && p.portsLocked() == 1 && len(p.sessions) == 1
	}, p.log.text)
}
