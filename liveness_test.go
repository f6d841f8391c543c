//go:build unix

package pool

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPeerClosesAllIdle: none of them is handed out, both sides are right
// within two seconds, and the pool is full again.
func TestPeerClosesAllIdle(t *testing.T) {
	const size = 8
	allModes(t, func(t *testing.T, mode TLSMode) {
		p := openPair(t, mode, ServerConfig{}, ClientConfig{Limits: Limits{MinCap: size, MaxCap: size}})
		for _, side := range []struct {
			name          string
			closer, other *Pool
		}{{"server", p.server, p.client}, {"client", p.client, p.server}} {
			p.full(t, size)
			old := map[string]bool{}
			side.other.mu.Lock()
			for id := range side.other.byID {
				old[id.String()] = true
			}
			side.other.mu.Unlock()

			before := side.other.Stats()
			start := time.Now()
			side.closer.Clean()
			for {
				id, c, err := side.other.ServerGet(0)
				if err != nil {
					require.ErrorIs(t, err, ErrTimeout)
					break
				}
				require.False(t, old[id], "handed out although the %s had closed it", side.name)
				side.other.Put(id, c)
				if side.other.Stats().Closed[ClosedDead] >= before.Closed[ClosedDead]+size {
					break
				}
			}
			require.Eventually(t, func() bool {
				return p.server.Active() == size && p.client.Active() == size
			}, 10*time.Second, time.Millisecond)
			require.Less(t, time.Since(start), 2*time.Second, "the %s closed", side.name)
			require.Equal(t, before.Closed[ClosedDead]+size, side.other.Stats().Closed[ClosedDead])
		}
	})
}

// TestDeadAreSweptUnasked is the same when nobody asks, after a reset.
func TestDeadAreSweptUnasked(t *testing.T) {
	const size = 8
	allModes(t, func(t *testing.T, mode TLSMode) {
		t.Parallel()
		p := openPair(t, mode, ServerConfig{}, ClientConfig{Limits: Limits{MinCap: size, MaxCap: size}})
		p.full(t, size)
		p.server.mu.Lock()
		for e := p.server.idle.newest; e != nil; e = e.next {
			conn := e.conn
			if l, ok := conn.(layered); ok {
				conn = l.NetConn()
			}
			require.NoError(t, conn.(interface{ SetLinger(int) error }).SetLinger(0)) // a close is a reset
		}
		p.server.mu.Unlock()
		p.server.Clean()
		start := time.Now()
		p.full(t, size)
		require.Less(t, time.Since(start), 2*time.Second)
		require.EqualValues(t, size, p.client.Stats().Closed[ClosedDead])
	})
}

// TestUnreadBytes: on an idle connection of the client they are the next
// user's, for PairTimeout; on the server they are death.
func TestUnreadBytes(t *testing.T) {
	const patience = 200 * time.Millisecond
	allModes(t, func(t *testing.T, mode TLSMode) {
		t.Parallel()
		p := openPair(t, mode, ServerConfig{}, ClientConfig{
			Limits: Limits{MinCap: 1, MaxCap: 2}, PairTimeout: patience})
		p.full(t, 1)
		server := mustGet(t, p.server)
		_, err := server.Write([]byte("early"))
		require.NoError(t, err)
		c, err := p.client.ClientGet(server.ID())
		require.NoError(t, err)
		early := make([]byte, 2)
		_, err = io.ReadFull(c, early)
		require.NoError(t, err)
		require.Equal(t, "ea", string(early))

		// Nobody takes it: the client gives it up.
		p.client.Put(server.ID(), c)
		_, err = server.Write([]byte("more"))
		require.NoError(t, err)
		require.Positive(t, p.client.Active())
		start := time.Now()
		requireEnded(t, server)
		require.Less(t, time.Since(start), patience+3*sweepInterval)
		require.EqualValues(t, 1, p.client.Stats().Closed[ClosedUnpaired])
		server.Close()

		// The client's user writes on what is idle on the server.
		require.Eventually(t, func() bool { return p.server.Active() > 0 }, 5*time.Second, time.Millisecond)
		id, c, err := p.client.ServerGet(5 * time.Second)
		require.NoError(t, err)
		_, err = c.Write([]byte("too early"))
		require.NoError(t, err)
		require.Eventually(t, func() bool { return p.server.Stats().Closed[ClosedDead] > 0 }, 5*time.Second, time.Millisecond)
		_, err = p.server.OutgoingGet(id, 0)
		require.ErrorIs(t, err, ErrNotFound)
		c.Close()
	})
}

func TestUnreadBytesAtPut(t *testing.T) {
	allModes(t, func(t *testing.T, mode TLSMode) {
		p := openPair(t, mode, ServerConfig{}, ClientConfig{Limits: Limits{MinCap: 1, MaxCap: 1}})
		server, client := p.take(t)
		readable := func(c *Conn) {
			require.Eventually(t, func() bool { return probe(c.entry.raw) == livenessReadable },
				5*time.Second, time.Millisecond)
		}
		_, err := server.Write([]byte("for the next"))
		require.NoError(t, err)
		readable(client)
		p.client.Put(client.ID(), client)
		again, err := p.client.ClientGet(server.ID())
		require.NoError(t, err)
		_, err = io.ReadFull(again, make([]byte, len("for the next")))
		require.NoError(t, err)

		_, err = again.Write([]byte("not for the next"))
		require.NoError(t, err)
		readable(server)
		before := p.server.Stats()
		p.server.Put(server.ID(), server)
		requireEnded(t, again)
		closed := p.server.Stats().Closed
		require.Equal(t, before.Closed[ClosedDead]+before.Closed[ClosedUnfit]+1, closed[ClosedDead]+closed[ClosedUnfit])
		again.Close()
	})
}

// TestDeadlineIsNotDeath: a deadline that a former holder left says nothing
// about the peer.
func TestDeadlineIsNotDeath(t *testing.T) {
	allModes(t, func(t *testing.T, mode TLSMode) {
		p := openPair(t, mode, ServerConfig{}, ClientConfig{Limits: Limits{MinCap: 1, MaxCap: 1}})
		server, client := p.take(t)
		for _, end := range []struct {
			pool *Pool
			conn *Conn
		}{{p.client, client}, {p.server, server}} {
			below := end.conn.NetConn()
			require.NoError(t, end.conn.SetDeadline(aLongTimeAgo))
			require.Equal(t, livenessQuiet, probe(end.conn.entry.raw))
			end.pool.Put(end.conn.ID(), end.conn)
			require.NoError(t, below.SetDeadline(aLongTimeAgo), "a breach of its promise")
			(&sweeper{pool: end.pool}).sweep(time.Now().Add(time.Hour))
			require.Empty(t, end.pool.Stats().Closed)
			require.NoError(t, below.SetDeadline(time.Time{}))
		}
		server, client = p.take(t)
		requireEcho(t, server, client)
		server.Close()
		client.Close()
	})
}

// TestConnReachesTheSocket: what a relay needs works in every mode.
func TestConnReachesTheSocket(t *testing.T) {
	allModes(t, func(t *testing.T, mode TLSMode) {
		p := openPair(t, mode, ServerConfig{}, ClientConfig{Limits: Limits{MinCap: 1, MaxCap: 1}})
		server, client := p.take(t)
		raw, err := server.SyscallConn()
		require.NoError(t, err)
		require.NoError(t, raw.Control(func(fd uintptr) {
			_, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_TYPE)
		}))
		require.NoError(t, err)
		_, isTLS := client.NetConn().(*tls.Conn)
		require.Equal(t, mode != TLSPlain, isTLS)

		require.NoError(t, server.CloseWrite())
		_, err = client.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		_, err = client.Write([]byte("still"))
		require.NoError(t, err)
		_, err = io.ReadFull(server, make([]byte, 5))
		require.NoError(t, err)
		p.client.Put(client.ID(), client)
		p.server.Put(server.ID(), server)
		for _, side := range []*Pool{p.client, p.server} {
			require.Equal(t, map[CloseReason]uint64{ClosedUnfit: 1}, side.Stats().Closed,
				"a direction is over")
		}
	})
}

// TestMappedClientAddress: a listener for both families sees IPv4 clients
// under mapped addresses.
func TestMappedClientAddress(t *testing.T) {
	for clientIP, welcome := range map[string]bool{
		"127.0.0.1": true, "::ffff:127.0.0.1": true, "127.0.0.2": false, "::1": false,
	} {
		l, err := net.Listen("tcp", "[::]:0")
		if err != nil {
			t.Skipf("no IPv6 here: %v", err)
		}
		p := NewServerPool(4, clientIP, nil, l, 0)
		require.NoError(t, p.Err())
		run(t, p)
		_, port, err := net.SplitHostPort(l.Addr().String())
		require.NoError(t, err)
		conn, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", port))
		require.NoError(t, err)
		defer conn.Close()
		got, err := io.ReadAll(io.LimitReader(conn, idSize))
		if welcome {
			require.NoError(t, err)
			require.Len(t, got, idSize)
			continue
		}
		require.Empty(t, got, clientIP)
		require.Equal(t, map[RejectReason]uint64{RejectAddress: 1}, p.Stats().Rejected)
	}
}

// mortalConn has a socket that can be said to be dead.
type mortalConn struct {
	net.Conn
	dead func() bool
}

func (c *mortalConn) SyscallConn() (syscall.RawConn, error) { return mortalRaw{c}, nil }

type mortalRaw struct{ *mortalConn }

func (r mortalRaw) Control(func(uintptr)) error {
	if r.dead() {
		return net.ErrClosed
	}
	return nil
}
func (mortalRaw) Read(func(uintptr) bool) error  { return net.ErrClosed }
func (mortalRaw) Write(func(uintptr) bool) error { return net.ErrClosed }

// TestConnectionsThatDieAtOnce: a server that names connections and drops them
// makes the client dial a pool's worth per sweep, and no more.
func TestConnectionsThatDieAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f farEnd
		f.answer = func(_ context.Context, n int) (net.Conn, error) {
			return &mortalConn{f.connect(n), func() bool { return true }}, nil
		}
		p := f.newClientPool(t, ClientConfig{Limits: Limits{MinCap: 10, MaxCap: 100}})
		time.Sleep(time.Minute) // of the bubble's clock
		require.LessOrEqual(t, f.count(), 10*61)
		require.Equal(t, 10, p.Capacity(), "deaths are no demand")
		_, _, err := p.ServerGet(0)
		require.ErrorIs(t, err, ErrTimeout)
		_, err = p.ClientGet("conn0000")
		require.ErrorIs(t, err, ErrNotFound)
	})
}

// TestDeathBetweenHandOuts: a taker is told at once, and a get goes on to the
// next.
func TestDeathBetweenHandOuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f farEnd
		dead := map[int]bool{}
		f.answer = func(_ context.Context, n int) (net.Conn, error) {
			return &mortalConn{f.connect(n), func() bool { return dead[n] }}, nil
		}
		p := f.newIdlePool(t, ClientConfig{Limits: Limits{MinCap: 3, MaxCap: 3}})
		for range 3 {
			p.dialOne(t.Context(), time.Now())
		}
		dead[1], dead[2] = true, true
		_, err := p.ClientGet("conn0001")
		require.ErrorIs(t, err, ErrNotFound)
		c := mustGet(t, p)
		require.Equal(t, "conn0000", c.ID())
		dead[0] = true
		p.Put(c.ID(), c)
		s := p.Stats()
		require.EqualValues(t, 1, s.Hits, "a dead one is no hit")
		require.EqualValues(t, 3, s.Closed[ClosedDead])
		require.EqualValues(t, 1, s.HandedOut)
		require.Zero(t, s.Idle+s.Out)
	})
}
