package relay

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
			atRest(t)
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
			inEachMode(t, func(t *testing.T, lane func() (client, server net.Conn)) {
				client, server := lane()
				r := start(t, client, server, rigOptions{})
				send(t, r.user, "hello")
				receive(t, r.target, "hello")
				send(t, r.target, "hello yourself")
				receive(t, r.user, "hello yourself")
				atRest(t)
				tt.play(t, r)
			})
		})
	}
}

// atRest waits until both sides' two goroutines are gone.
func atRest(t *testing.T) {
	require.Eventually(t, func() bool {
		theLounge.mu.Lock()
		defer theLounge.mu.Unlock()
		return len(theLounge.guests) == 4
	}, patience, time.Millisecond)
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
	enter := func(name string) (peer *net.TCPConn, token uint64) {
		conn, peer := tcpPair(t)
		token, ok := l.enter(socketOf(conn), func() { calls <- name })
		require.True(t, ok)
		return peer, token
	}
	speaker, _ := enter("speaker")
	ender, _ := enter("ender")
	gone, token := enter("gone")
	require.True(t, l.leave(token))
	require.False(t, l.leave(token))
	send(t, gone, "x")
	send(t, speaker, "x")
	require.Equal(t, "speaker", await(t, calls))
	ender.Close()
	require.Equal(t, "ender", await(t, calls))

	last, token := enter("last") // after the goroutine has ended, or as it does
	require.True(t, l.leave(token))
	send(t, last, "x")
	there, conn := tcpPair(t)
	send(t, there, "x")
	_, ok := l.enter(socketOf(conn), func() { calls <- "there" })
	require.True(t, ok)
	require.Equal(t, "there", await(t, calls))
	require.Empty(t, calls)
	l.epoll.Close()
}
