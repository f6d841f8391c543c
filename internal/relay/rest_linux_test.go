package relay

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/carrier"
	"github.com/tunnelpool/pool/internal/wire"
)

// TestRest: a stream that is still is carried by no goroutine, and whatever then
// happens at any of its ends is met as if there were some.
func TestRest(t *testing.T) {
	for _, tt := range []struct {
		name string
		play func(t *testing.T, r *rig)
	}{
		{"the user speaks", func(t *testing.T, r *rig) {
			send(t, r.user, "ping")
			receive(t, r.target, "ping")
			atRest(t, r)
			send(t, r.target, "pong")
			receive(t, r.user, "pong")
			endInOrder(t, r)
			r.keptByBoth(t)
		}},
		{"both speak at once, and much", func(t *testing.T, r *rig) {
			up, down := pattern(1, 1<<20), pattern(2, 1<<20)
			go r.user.Write(up)
			go r.target.Write(down)
			receive(t, r.target, string(up))
			receive(t, r.user, string(down))
			endInOrder(t, r)
			r.keptByBoth(t)
		}},
		{"the user ends", func(t *testing.T, r *rig) {
			require.NoError(t, r.user.CloseWrite())
			_, err := io.Copy(io.Discard, r.target)
			require.NoError(t, err)
			send(t, r.target, "bye")
			r.target.Close()
			receive(t, r.user, "bye")
			r.keptByBoth(t)
		}},
		{"the target ends", func(t *testing.T, r *rig) {
			require.NoError(t, r.target.CloseWrite())
			_, err := io.Copy(io.Discard, r.user)
			require.NoError(t, err)
			send(t, r.user, "bye")
			r.user.Close()
			receive(t, r.target, "bye")
			r.keptByBoth(t)
		}},
		{"the user resets", func(t *testing.T, r *rig) {
			reset(t, r.user)
			seesReset(t, r.target)
			served, attended := r.keptByBoth(t)
			require.Equal(t, wire.ResetAborted, served.Reset)
			require.Equal(t, wire.ResetAborted, attended.Reset)
		}},
		{"the target resets", func(t *testing.T, r *rig) {
			reset(t, r.target)
			seesReset(t, r.user)
			r.keptByBoth(t)
		}},
		{"the server ends", func(t *testing.T, r *rig) {
			r.cancelServer()
			seesReset(t, r.user)
			seesReset(t, r.target)
			served, attended := r.results(t)
			require.False(t, served.Keep || attended.Keep)
		}},
		{"the client ends", func(t *testing.T, r *rig) {
			r.cancelClient()
			seesReset(t, r.user)
			seesReset(t, r.target)
			served, attended := r.results(t)
			require.False(t, served.Keep || attended.Keep)
		}},
		{"the pooled connection breaks", func(t *testing.T, r *rig) {
			cut(r.server)
			seesReset(t, r.target)
			require.False(t, await(t, r.attended).Keep)
			r.cancelServer() // it would learn that it was closed here at the next look
			require.False(t, await(t, r.served).Keep)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			play := func(t *testing.T, client, server net.Conn) {
				r := start(t, client, server, rigOptions{})
				send(t, r.user, "hello")
				receive(t, r.target, "hello")
				send(t, r.target, "hello yourself")
				receive(t, r.user, "hello yourself")
				atRest(t, r)
				tt.play(t, r)
			}
			inEachMode(t, func(t *testing.T, lane func() (client, server net.Conn)) {
				client, server := lane()
				play(t, client, server)
			})
			t.Run("carried", func(t *testing.T) {
				client, server := carried(t, 1)
				play(t, client, server)
			})
		})
	}
}

// atRest waits until both sides' two goroutines are gone.
func atRest(t *testing.T, r *rig) {
	require.Eventually(t, func() bool {
		theLounge.mu.Lock()
		resting := len(theLounge.guests)
		theLounge.mu.Unlock()
		for _, end := range []net.Conn{r.client, r.server} {
			if c, ok := end.(*carriedEnd); ok && c.awaited.Load() {
				resting++
			}
		}
		return resting == 4
	}, patience, time.Millisecond)
}

// carriedEnd is an end of a stream on a carrier, where it shows who waits.
type carriedEnd struct {
	*carrier.Stream
	awaited atomic.Bool
}

func (c *carriedEnd) AwaitRead(readable func()) func() bool {
	c.awaited.Store(true)
	stop := c.Stream.AwaitRead(func() {
		c.awaited.Store(false)
		readable()
	})
	return func() bool {
		left := stop()
		if left {
			c.awaited.Store(false)
		}
		return left
	}
}

// carried is a stream on a carrier.
func carried(t *testing.T, number uint32) (client, server *carriedEnd) {
	t.Helper()
	cc, sc := tcpPair(t)
	at, on := carrier.NewClient(cc, time.Second), carrier.NewServer(sc, time.Second, func() {})
	var tasks sync.WaitGroup
	for _, c := range []*carrier.Carrier{at, on} {
		tasks.Go(func() { c.Run() }) // ends when it is closed
	}
	t.Cleanup(func() {
		at.Close()
		on.Close()
		tasks.Wait()
	})
	c, err := at.Take(number)
	require.NoError(t, err)
	s, err := on.Open(number)
	require.NoError(t, err)
	return &carriedEnd{Stream: c}, &carriedEnd{Stream: s}
}

func endInOrder(t *testing.T, r *rig) {
	require.NoError(t, r.user.CloseWrite())
	require.NoError(t, r.target.CloseWrite())
	for _, c := range []net.Conn{r.user, r.target} {
		_, err := io.Copy(io.Discard, c)
		require.NoError(t, err)
	}
}

// TestLounge: who waits is called once, when there is a reason; who left is not.
func TestLounge(t *testing.T) {
	var l lounge
	calls := make(chan string, 10)
	enter := func(name string) (peer *net.TCPConn, leave func() bool) {
		conn, peer := tcpPair(t)
		leave = l.enter(socketOf(conn), func() { calls <- name })
		require.NotNil(t, leave)
		return peer, leave
	}
	speaker, _ := enter("speaker")
	ender, _ := enter("ender")
	gone, leave := enter("gone")
	require.True(t, leave())
	require.False(t, leave())
	send(t, gone, "x")
	send(t, speaker, "x")
	require.Equal(t, "speaker", await(t, calls))
	ender.Close()
	require.Equal(t, "ender", await(t, calls))

	last, leave := enter("last") // after the goroutine has ended, or as it does
	require.True(t, leave())
	send(t, last, "x")
	there, conn := tcpPair(t)
	send(t, there, "x")
	require.NotNil(t, l.enter(socketOf(conn), func() { calls <- "there" }))
	require.Equal(t, "there", await(t, calls))
	require.Empty(t, calls)
	l.epoll.Close()
}

// TestRestOfUnixTarget: a still stream to a Unix socket holds no goroutine either,
// and is carried on when one of its ends speaks.
func TestRestOfUnixTarget(t *testing.T) {
	client, server := tcpPair(t)
	r := startUnix(t, client, server)
	send(t, r.user, "ping")
	receive(t, r.target, "ping")
	resting := &rig{client: client, server: server}
	atRest(t, resting)
	send(t, r.target, "pong")
	receive(t, r.user, "pong")
	atRest(t, resting)
	send(t, r.user, "bye")
	receive(t, r.target, "bye")
	r.target.Close()
	_, err := io.ReadAll(r.user)
	require.NoError(t, err)
	r.user.Close()
	r.keptByBoth(t)
}

// TestUnixTargetBroken: a target that left what it was sent unread is noticed
// without a read, as on TCP; one that ended in order is not.
func TestUnixTargetBroken(t *testing.T) {
	end, target := unixPair(t)
	send(t, end, "read")
	receive(t, target, "read")
	target.Close()
	require.Eventually(t, func() bool { return readable(end) }, patience, time.Millisecond)
	require.False(t, wasReset(end))

	end, target = unixPair(t)
	send(t, end, "unread")
	target.Close()
	require.Eventually(t, func() bool { return wasReset(end) }, patience, time.Millisecond)
}
