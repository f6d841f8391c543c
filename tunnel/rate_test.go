package tunnel

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// amount is what a test with a rate moves; slowRate takes about a second for it.
const (
	amount   = 1 << 20
	slowRate = 1 << 20
)

// pump moves amount bytes from one end of a conversation to the other, checks
// them, and returns how long that took.
func pump(t testing.TB, from, to net.Conn, bytesToMove int) time.Duration {
	t.Helper()
	what := make([]byte, bytesToMove)
	rand.Read(what)
	begun := time.Now()
	var writing sync.WaitGroup
	writing.Go(func() {
		if _, err := from.Write(what); err != nil {
			t.Errorf("writing: %v", err)
		}
	})
	hash := sha256.New()
	_, err := io.CopyN(hash, to, int64(len(what)))
	require.NoError(t, err)
	took := time.Since(begun)
	writing.Wait()
	want := sha256.Sum256(what)
	require.True(t, bytes.Equal(want[:], hash.Sum(nil)))
	return took
}

// handing is a target that hands its connections to the test.
func handing(t testing.TB) (address string, conns chan *net.TCPConn) {
	conns = make(chan *net.TCPConn, 1)
	done := make(chan struct{})
	address = startTarget(t, func(c *net.TCPConn) {
		c.SetDeadline(time.Now().Add(patience))
		conns <- c
		<-done
	})
	t.Cleanup(func() { close(done) })
	return address, conns
}

// TestRate: a service with a rate moves as much and no more, each way, for all
// its users together; the one beside it is not held up, although their streams
// are on one carrier.
func TestRate(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		h := startServer(t, mode)
		slowTarget, slowEnds := handing(t)
		fastTarget, fastEnds := handing(t)
		g := startClient(t, h, slowTarget, func(cfg *ClientConfig) {
			cfg.PoolMin, cfg.PoolMax, cfg.Carriers = 1, 1, 1
			cfg.Services[0].Rate = slowRate
			cfg.Services = append(cfg.Services, Service{Name: "fast", Target: fastTarget})
		})
		occupy := dialUser(t, g.public(1)) // the pooled connection, so that all others are carried
		<-fastEnds
		defer occupy.Close()
		one := dialUser(t, g.public(0))
		oneEnd := <-slowEnds
		two := dialUser(t, g.public(0))
		twoEnd := <-slowEnds
		fast := dialUser(t, g.public(1))
		fastEnd := <-fastEnds
		require.NotZero(t, h.Stats().Carried)
		for name, way := range map[string]struct{ one, oneTo, two, twoTo, fast, fastTo net.Conn }{
			"up":   {one, oneEnd, two, twoEnd, fast, fastEnd},
			"down": {oneEnd, one, twoEnd, two, fastEnd, fast},
		} {
			var slow sync.WaitGroup
			var took [2]time.Duration
			slow.Go(func() { took[0] = pump(t, way.one, way.oneTo, amount/2) })
			slow.Go(func() { took[1] = pump(t, way.two, way.twoTo, amount/2) })
			neighbour := pump(t, way.fast, way.fastTo, 4*amount)
			slow.Wait()
			t.Logf("%s: %v and %v for what takes %v; beside it four times as much took %v", name,
				took[0].Round(time.Millisecond), took[1].Round(time.Millisecond), time.Second*amount/slowRate, neighbour.Round(time.Millisecond))
			whole := time.Second * amount / slowRate
			require.Greater(t, max(took[0], took[1]), whole*9/10)
			require.Greater(t, min(took[0], took[1]), whole/3, "they share it")
			require.Less(t, neighbour, max(took[0], took[1]))
		}
	})
}

// TestRateOfKey: the clients of a key share its rate, those of another have
// theirs.
func TestRateOfKey(t *testing.T) {
	slow, quick := pool.NewKey(), pool.NewKey()
	h := startServer(t, pool.TLSSelfSigned, func(cfg *ServerConfig) {
		var err error
		cfg.Keys = nil
		cfg.Keyring, err = NewKeyring(Grant{Key: slow, Rate: slowRate}, Grant{Key: quick})
		require.NoError(t, err)
	})
	target, ends := handing(t)
	talk := func(key pool.Key) (user, end *net.TCPConn) {
		g := startClient(t, h, target, func(cfg *ClientConfig) { cfg.Key = key })
		user = dialUser(t, g.public(0))
		return user, <-ends
	}
	one, oneEnd := talk(slow)
	two, twoEnd := talk(slow)
	fast, fastEnd := talk(quick)
	for name, way := range map[string]struct{ one, oneTo, two, twoTo, fast, fastTo net.Conn }{
		"up":   {one, oneEnd, two, twoEnd, fast, fastEnd},
		"down": {oneEnd, one, twoEnd, two, fastEnd, fast},
	} {
		var both sync.WaitGroup
		var took [2]time.Duration
		both.Go(func() { took[0] = pump(t, way.one, way.oneTo, amount/2) })
		both.Go(func() { took[1] = pump(t, way.two, way.twoTo, amount/2) })
		other := pump(t, way.fast, way.fastTo, 4*amount)
		both.Wait()
		t.Logf("%s: two clients %v and %v, one of another key %v", name, took[0].Round(time.Millisecond), took[1].Round(time.Millisecond), other.Round(time.Millisecond))
		require.Greater(t, max(took[0], took[1]), time.Second*amount/slowRate*9/10)
		require.Less(t, other, max(took[0], took[1]))
	}
}

// TestKeyRateChanges: what a key is granted is what holds, for streams in
// progress too.
func TestKeyRateChanges(t *testing.T) {
	var h holder
	h.rate.set(0)
	require.Nil(t, h.rate.limit.Load())
	h.rate.set(5000)
	l := h.rate.limit.Load()
	require.EqualValues(t, 5000, l.Rate())
	h.rate.set(5000)
	h.rate.set(7000)
	require.Same(t, l, h.rate.limit.Load())
	require.EqualValues(t, 7000, l.Rate())
	h.rate.set(0)
	require.Nil(t, h.rate.limit.Load())
	require.Greater(t, l.Rate(), int64(1e14), "who has it still goes on without")
	h.rate.set(6000)
	require.EqualValues(t, 6000, l.Rate(), "and has the next one")
	require.Same(t, l, h.rate.limit.Load(), "with those who come")
}

// TestRateEnds: many streams wait for their turn of a rate that takes minutes for
// all. A reset on either side reaches the other within the time that an aborted
// stream has, ahead of what waits, and the end of the client at once.
func TestRateEnds(t *testing.T) {
	h := startServer(t, pool.TLSSelfSigned)
	target, ends := handing(t)
	g := startClient(t, h, target, func(cfg *ClientConfig) { cfg.Services[0].Rate = MinRate })
	const streams = 20
	var users, targets []*net.TCPConn
	for range streams {
		users = append(users, g.dial(t))
		targets = append(targets, <-ends)
	}
	load := make([]byte, 100<<10)
	for i := range users {
		_, err := users[i].Write(load)
		require.NoError(t, err)
		_, err = targets[i].Write(load)
		require.NoError(t, err)
	}
	wholeTime := time.Duration(streams*len(load)) * time.Second / MinRate
	begun := time.Now()
	reset(users[0])
	reset(targets[1])
	for _, c := range []*net.TCPConn{targets[0], users[1]} {
		_, err := io.Copy(io.Discard, c)
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
	eventually(t, func() bool { return g.Stats().Open == streams-2 && h.Stats().Open == streams-2 }, g.log.text)
	t.Logf("the resets were seen on the other side, and both sides free, after %v of %v", time.Since(begun).Round(time.Millisecond), wholeTime)
	begun = time.Now()
	g.Close()
	<-g.done
	for _, c := range users[2:] {
		_, err := io.Copy(io.Discard, c)
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
	t.Logf("the client ended after %v", time.Since(begun).Round(time.Millisecond))
	require.Less(t, time.Since(begun), wholeTime/10)
}

// TestServiceFull: a service has as many users as it may, the one beside it as
// many as it likes.
func TestServiceFull(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	target := startTarget(t, echo)
	g := startClient(t, h, target, func(cfg *ClientConfig) {
		cfg.Services[0].MaxStreams = 2
		cfg.Services = append(cfg.Services, Service{Name: "other", Target: target})
	})
	in := []*net.TCPConn{g.dial(t), g.dial(t)}
	for _, c := range in {
		send(t, c, "in")
		receive(t, c, "in")
	}
	turnsAway(t, g.public(0))
	t.Log(g.log.find(t, "is turned away: the service has as many users as it may have; see --max-streams-per-service"))
	for range 3 {
		c := dialUser(t, g.public(1))
		send(t, c, "other")
		receive(t, c, "other")
	}
	in[0].Close()
	eventually(t, func() bool { return g.services[0].target.Load().served.Load() == 1 }, g.log.text)
	works(t, g)
}
