package pool

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSilentCrowd: 500 connections from one address that say nothing keep
// nobody out.
func TestSilentCrowd(t *testing.T) {
	const crowd = 500
	key := NewKey()
	d := openDoor(t, AcceptConfig{Keys: KnownKeys(key)})
	silent := make([]net.Conn, crowd)
	for i := range silent {
		silent[i] = d.dial(t)
		defer silent[i].Close()
	}
	for range crowd - defaultMaxHandshakesPerSource {
		require.Contains(t, (<-d.log).text, "(cap)")
	}
	require.Equal(t, defaultMaxHandshakesPerSource, d.Stats().InFlight)

	start := time.Now()
	conn, err := d.secure(t, Security{Key: key})
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.ReadFull(conn, make([]byte, len(doorGreeting)))
	require.NoError(t, err)
	require.Less(t, time.Since(start), time.Second)
	t.Logf("past %d silent connections in %v", crowd, time.Since(start))

	// The newest is the last that would make way.
	newest := silent[crowd-1]
	require.NoError(t, newest.SetReadDeadline(time.Now()))
	_, err = newest.Read(make([]byte, 1))
	require.False(t, hungUp(err), "%v", err)
	_, err = silent[0].Read(make([]byte, 1))
	require.True(t, hungUp(err), "%v", err)
}

// TestLongestWithoutProgressMakesWay: at the global cap age does not decide,
// standing still does.
func TestLongestWithoutProgressMakesWay(t *testing.T) {
	key := NewKey()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		d := openDoorOn(t, l, AcceptConfig{TLS: TLSPlain, Keys: KnownKeys(key), MaxHandshakes: 2})
		resume := make(chan struct{})
		oldest := &gateConn{Conn: l.dial("192.0.2.1:1"), gate: resume}
		proven := make(chan error, 1)
		go func() {
			s := Security{TLS: TLSPlain, Key: key}
			conn, err := s.Secure(t.Context(), oldest)
			if err == nil {
				_, err = io.ReadFull(conn, make([]byte, len(doorGreeting)))
			}
			proven <- err
		}()
		silent := l.dial("192.0.2.2:1")
		synctest.Wait()
		require.Equal(t, 2, d.Stats().InFlight)
		_, err := oldest.release(helloHeadSize + nonceSize) // progress: the hello is in
		require.NoError(t, err)
		synctest.Wait()

		newcomer := l.dial("192.0.2.3:1")
		defer newcomer.Close()
		_, err = silent.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "the silent one had to make way")
		require.Contains(t, (<-d.log).text, "192.0.2.2:1 (cap)")
		require.Equal(t, 2, d.Stats().InFlight)

		close(resume)
		require.NoError(t, <-proven, "the one that made progress stayed")
	})
}

// gateConn withholds writes: the first until release, the rest until the gate
// opens.
type gateConn struct {
	net.Conn
	gate    chan struct{}
	mu      sync.Mutex
	held    chan []byte
	written int
}

func (c *gateConn) first() chan []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		c.held = make(chan []byte, 1)
	}
	return c.held
}

func (c *gateConn) Write(b []byte) (int, error) {
	c.written++
	if c.written == 1 {
		c.first() <- b
		return len(b), nil
	}
	<-c.gate
	return c.Conn.Write(b)
}

// release lets the first write go; it has to have the given size.
func (c *gateConn) release(size int) (int, error) {
	b := <-c.first()
	if len(b) != size {
		return 0, fmt.Errorf("first write has %d bytes", len(b))
	}
	return c.Conn.Write(b)
}

func TestCapPerSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		d := openDoorOn(t, l, AcceptConfig{Keys: KnownKeys(NewKey()), MaxHandshakes: 100, MaxHandshakesPerSource: 2})
		oldest := l.dial("198.51.100.1:1") // of all, but from elsewhere
		defer oldest.Close()
		first := l.dial("[2001:db8:1:2::1]:1")
		for _, from := range []string{"[2001:db8:1:2::2]:1", "[2001:db8:1:2:ffff::3]:1", "[2001:db8:1:3::1]:1"} {
			defer l.dial(from).Close()
		}
		_, err := first.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "one /64 is one source")
		require.Contains(t, (<-d.log).text, "[2001:db8:1:2::1]:1 (cap)")
		synctest.Wait()
		require.Equal(t, 4, d.Stats().InFlight)
		require.Equal(t, map[RejectReason]uint64{RejectCap: 1}, d.Stats().Rejected)
	})
}

// TestProvenKeepTheirPlace: a newcomer never costs a connection that is already
// with handle, because it may be somebody's by now.
func TestProvenKeepTheirPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		log := make(eventLog, 10)
		a, err := NewAcceptor(AcceptConfig{TLS: TLSPlain, MaxHandshakes: 1, Logger: log})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		handling, finish := make(chan net.Conn, 1), make(chan struct{})
		served := make(chan error, 1)
		go func() {
			served <- a.Serve(ctx, l, func(_ context.Context, conn net.Conn, _ Hello) {
				handling <- conn
				<-finish
			})
		}()
		client := l.dial("192.0.2.1:1")
		server := <-handling
		require.Equal(t, 1, a.Stats().InFlight)

		late := l.dial("192.0.2.2:1")
		_, err = late.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.Contains(t, (<-log).text, "192.0.2.2:1 (cap)")

		close(finish)
		synctest.Wait()
		require.Zero(t, a.Stats().InFlight)
		cancel()
		require.NoError(t, <-served)
		go server.Write([]byte("x"))
		_, err = io.ReadFull(client, make([]byte, 1))
		require.NoError(t, err, "what handle owns, nobody else closes")
		client.Close()
	})
}

// TestSilenceMakesWayFirst: who speaks keeps its place before any number of
// those who do not, however long ago it spoke.
func TestSilenceMakesWayFirst(t *testing.T) {
	key := NewKey()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		d := openDoorOn(t, l, AcceptConfig{TLS: TLSPlain, Keys: KnownKeys(key), MaxHandshakes: 4})
		far := &gateConn{Conn: l.dial("192.0.2.1:1"), gate: make(chan struct{})} // its answers take long
		proven := make(chan error, 1)
		go func() {
			s := Security{TLS: TLSPlain, Key: key}
			_, err := s.Secure(t.Context(), far)
			proven <- err
		}()
		_, err := far.release(helloHeadSize + nonceSize)
		require.NoError(t, err)
		for i := range 1000 {
			defer l.dial(fmt.Sprintf("192.0.2.1:%d", 2+i)).Close()
		}
		synctest.Wait()
		require.Equal(t, 4, d.Stats().InFlight)
		close(far.gate)
		require.NoError(t, <-proven)
	})
}

// TestFavoredSource: strangers from its own address and from everywhere else
// take all they can, and the client of a live session comes in.
func TestFavoredSource(t *testing.T) {
	key := NewKey()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		d := openDoorOn(t, l, AcceptConfig{TLS: TLSPlain, Keys: KnownKeys(key), MaxHandshakes: 8, MaxHandshakesPerSource: 2, FailureRate: 1, FailureBurst: 1})
		knock := func(key Key, from string) error {
			s := Security{TLS: TLSPlain, Key: key}
			conn, err := s.Secure(t.Context(), l.dial(from))
			if err == nil {
				_, err = io.ReadFull(conn, make([]byte, len(doorGreeting)))
			}
			return err
		}
		rejected := func(why RejectReason) int {
			synctest.Wait() // who is turned away hears of it before it is counted
			return int(d.Stats().Rejected[why])
		}
		inFlight := func() int {
			synctest.Wait()
			return d.Stats().InFlight
		}
		release := d.Favor(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1})
		again := d.Favor(textAddr("[::ffff:192.0.2.1]:2"))
		d.Favor(textAddr("pipe"))() // no address: nothing to favor
		release()
		release() // the second time is nothing
		for i := range 20 {
			defer l.dial(fmt.Sprintf("192.0.2.1:%d", 10+i)).Close()
		}
		require.Equal(t, 2*favoredPlaces, inFlight(), "twice the places")
		for i := range 20 {
			defer l.dial(fmt.Sprintf("198.51.100.%d:1", i)).Close()
		}
		require.Equal(t, 8, inFlight())
		counts := func() (strangers, favored int) {
			d.places.mu.Lock()
			defer d.places.mu.Unlock()
			return d.places.classes[classStranger].count, d.places.classes[classFavored].count
		}
		strangers, favored := counts()
		require.Equal(t, []int{4, 4}, []int{strangers, favored}, "half is the strangers' at most")

		// Four times the failures, and those of strangers are no matter.
		for i := range strangerFailures {
			require.ErrorIs(t, knock(NewKey(), fmt.Sprintf("203.0.113.%d:1", i)), ErrRefused)
		}
		require.EqualValues(t, strangerFailures, rejected(RejectProof))
		require.ErrorIs(t, knock(key, "203.0.113.200:1"), ErrBusy, "strangers have failed too often together")
		require.EqualValues(t, 1, rejected(RejectRate))
		require.NoError(t, knock(key, "192.0.2.1:100"))
		time.Sleep(time.Minute)
		for range favoredFailures {
			require.ErrorIs(t, knock(NewKey(), "192.0.2.1:101"), ErrRefused)
		}
		require.EqualValues(t, strangerFailures+favoredFailures, rejected(RejectProof))
		require.ErrorIs(t, knock(key, "192.0.2.1:102"), ErrBusy)
		require.EqualValues(t, 2, rejected(RejectRate))

		again()
		require.Empty(t, d.places.favored)
		time.Sleep(time.Minute)
		require.ErrorIs(t, knock(NewKey(), "192.0.2.1:103"), ErrRefused)
		require.ErrorIs(t, knock(key, "192.0.2.1:104"), ErrBusy, "a stranger again")
		require.EqualValues(t, 3, rejected(RejectRate))
	})
}

// TestHandshakesTable drives the table at random and compares it with plain
// slices of who waits, the first to make way in front.
func TestHandshakesTable(t *testing.T) {
	const limit, perSource = 12, 3
	random := rand.New(rand.NewPCG(1, 2))
	table := newHandshakes(limit, perSource)
	var silent, speaking, held []*handshakeEntry
	aborted := map[*handshakeEntry]bool{}
	without := func(list []*handshakeEntry, e *handshakeEntry) []*handshakeEntry {
		return slices.DeleteFunc(slices.Clone(list), func(x *handshakeEntry) bool { return x == e })
	}
	count := func(ok func(e *handshakeEntry) bool) (n int) {
		for _, e := range slices.Concat(silent, speaking, held) {
			if ok(e) {
				n++
			}
		}
		return n
	}
	source := func(n int) netip.Prefix {
		if n == 0 {
			return netip.Prefix{} // a connection without an address
		}
		return sourceOf(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}))
	}
	favors := map[netip.Prefix][]func(){}
	evictions := 0
	for range 50000 {
		waiting := slices.Concat(silent, speaking)
		switch op := random.IntN(24); {
		case op < 12:
			e := &handshakeEntry{source: source(random.IntN(9))}
			e.abort = func() { aborted[e] = true }
			favored := len(favors[e.source]) > 0
			cap := perSource
			if favored {
				cap *= favoredPlaces
			}
			crowded := e.source.IsValid() && count(func(x *handshakeEntry) bool { return x.source == e.source }) >= cap
			full := crowded || len(waiting)+len(held) >= limit
			inFavor := count(func(x *handshakeEntry) bool { return x.favored })
			victims := func(ok func(x *handshakeEntry) bool) *handshakeEntry {
				if i := slices.IndexFunc(waiting, ok); i >= 0 {
					return waiting[i]
				}
				return nil
			}
			var victim *handshakeEntry
			switch {
			case crowded:
				victim = victims(func(x *handshakeEntry) bool { return x.source == e.source })
			case full:
				more := inFavor > limit-inFavor
				if victim = victims(func(x *handshakeEntry) bool { return x.favored == more }); victim == nil {
					victim = victims(func(x *handshakeEntry) bool { return x.favored != more })
				}
			}
			clear(aborted)
			require.Equal(t, !full || victim != nil, table.add(e))
			require.Equal(t, victim != nil, len(aborted) == 1)
			if victim != nil {
				evictions++
				require.True(t, aborted[victim], "the wrong one made way")
				require.False(t, table.hold(victim))
				require.True(t, table.remove(victim))
				table.progress(victim)
				silent, speaking = without(silent, victim), without(speaking, victim)
			}
			if !full || victim != nil {
				require.Equal(t, favored, e.favored)
				silent = append(silent, e)
			}
		case op < 18 && len(waiting) > 0:
			e := waiting[random.IntN(len(waiting))]
			table.progress(e)
			silent, speaking = without(silent, e), append(without(speaking, e), e)
		case op < 20 && len(waiting) > 0:
			e := waiting[random.IntN(len(waiting))]
			require.True(t, table.hold(e))
			table.progress(e)
			silent, speaking, held = without(silent, e), without(speaking, e), append(held, e)
		case op == 20 && len(waiting) > 0:
			e := waiting[random.IntN(len(waiting))]
			require.False(t, table.remove(e))
			silent, speaking = without(silent, e), without(speaking, e)
		case op == 21 && len(held) > 0:
			e := held[random.IntN(len(held))]
			require.False(t, table.remove(e))
			held = without(held, e)
		case op == 22:
			s := source(1 + random.IntN(8))
			favors[s] = append(favors[s], table.favor(s))
		case op == 23:
			s := source(1 + random.IntN(8))
			if n := len(favors[s]); n > 0 {
				favors[s][n-1]()
				favors[s] = favors[s][:n-1]
			}
		}
		require.Equal(t, len(silent)+len(speaking)+len(held), table.inFlight())
	}
	require.Greater(t, evictions, 1000)
	for _, e := range slices.Concat(silent, speaking, held) {
		table.remove(e)
	}
	for _, all := range favors {
		for _, release := range all {
			release()
		}
	}
	require.Zero(t, table.inFlight())
	require.Empty(t, table.sources, "the table remembers sources without handshakes")
	require.Empty(t, table.favored)
}
