package pool

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
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

// TestHandshakesTable drives the table at random and compares it with a plain
// slice of who waits, longest first.
func TestHandshakesTable(t *testing.T) {
	const limit, perSource = 12, 5
	random := rand.New(rand.NewPCG(1, 2))
	table := newHandshakes(limit, perSource)
	var waiting, held []*handshakeEntry
	aborted := map[*handshakeEntry]bool{}
	without := func(list []*handshakeEntry, e *handshakeEntry) []*handshakeEntry {
		var kept []*handshakeEntry
		for _, x := range list {
			if x != e {
				kept = append(kept, x)
			}
		}
		return kept
	}
	count := func(source netip.Prefix) (n int) {
		for _, list := range [][]*handshakeEntry{waiting, held} {
			for _, e := range list {
				if e.source == source {
					n++
				}
			}
		}
		return n
	}
	for range 20000 {
		switch op := random.IntN(10); {
		case op < 5:
			e := &handshakeEntry{}
			if n := random.IntN(6); n > 0 { // 0: a connection without an address
				e.source = sourceOf(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}))
			}
			e.abort = func() { aborted[e] = true }
			var victim *handshakeEntry
			crowded := e.source.IsValid() && count(e.source) >= perSource
			full := crowded || len(waiting)+len(held) >= limit
			for _, w := range waiting {
				if full && (!crowded || w.source == e.source) {
					victim = w
					break
				}
			}
			clear(aborted)
			require.Equal(t, !full || victim != nil, table.add(e))
			require.Equal(t, victim != nil, len(aborted) == 1)
			if victim != nil {
				require.True(t, aborted[victim], "the wrong one made way")
				require.False(t, table.hold(victim))
				require.True(t, table.remove(victim))
				waiting = without(waiting, victim)
			}
			if !full || victim != nil {
				waiting = append(waiting, e)
			}
		case op < 7 && len(waiting) > 0:
			e := waiting[random.IntN(len(waiting))]
			table.progress(e)
			waiting = append(without(waiting, e), e)
		case op == 7 && len(waiting) > 0:
			e := waiting[random.IntN(len(waiting))]
			require.True(t, table.hold(e))
			waiting, held = without(waiting, e), append(held, e)
		case op == 8 && len(waiting) > 0:
			e := waiting[random.IntN(len(waiting))]
			require.False(t, table.remove(e))
			waiting = without(waiting, e)
		case op == 9 && len(held) > 0:
			e := held[random.IntN(len(held))]
			require.False(t, table.remove(e))
			held = without(held, e)
		}
		require.Equal(t, len(waiting)+len(held), table.inFlight())
	}
	for _, e := range append(waiting, held...) {
		table.remove(e)
	}
	require.Zero(t, table.inFlight())
	require.Empty(t, table.sources, "the table remembers sources without handshakes")
}
