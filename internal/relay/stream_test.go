package relay

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/wire"
)

func TestEcho(t *testing.T) {
	inEachMode(t, func(t *testing.T, lane func() (net.Conn, net.Conn)) {
		client, server := lane()
		r := start(t, client, server, rigOptions{})
		data := make([]byte, 4<<20)
		rand.Read(data)
		go func() {
			io.Copy(r.target, r.target)
			r.target.CloseWrite()
		}()
		go func() {
			r.user.Write(data)
			r.user.CloseWrite()
		}()
		got, err := io.ReadAll(r.user)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
		served, attended := r.keptByBoth(t)
		require.NoError(t, served.Err)
		require.NoError(t, attended.Err)
		for _, n := range []int64{served.Sent, served.Received, attended.Sent, attended.Received} {
			require.EqualValues(t, len(data), n)
		}
	})
}

func TestTargetSpeaksFirst(t *testing.T) {
	client, server := tcpPair(t)
	r := start(t, client, server, rigOptions{})
	send(t, r.target, "220 ready\r\n")
	receive(t, r.user, "220 ready\r\n")
	send(t, r.user, "QUIT\r\n")
	receive(t, r.target, "QUIT\r\n")
	r.target.Close()
	_, err := io.ReadAll(r.user)
	require.NoError(t, err)
	r.user.Close()
	r.keptByBoth(t)
}

// TestHalfClose ends one direction and wants the answer of the other whole.
func TestHalfClose(t *testing.T) {
	answer := make([]byte, 3<<20)
	rand.Read(answer)
	inEachMode(t, func(t *testing.T, lane func() (net.Conn, net.Conn)) {
		for _, first := range []string{"user", "target"} {
			t.Run(first, func(t *testing.T) {
				client, server := lane()
				r := start(t, client, server, rigOptions{})
				one, two := r.user, r.target
				if first == "target" {
					one, two = two, one
				}
				send(t, one, "question")
				require.NoError(t, one.CloseWrite())
				got, err := io.ReadAll(two)
				require.NoError(t, err)
				require.Equal(t, "question", string(got))
				go func() {
					two.Write(answer)
					two.CloseWrite()
				}()
				got, err = io.ReadAll(one)
				require.NoError(t, err)
				require.True(t, bytes.Equal(answer, got))
				r.keptByBoth(t)
			})
		}
	})
}

// TestReset wants a reset on one end to be a reset on the other, and the
// connection between them to survive it.
func TestReset(t *testing.T) {
	inEachMode(t, func(t *testing.T, lane func() (net.Conn, net.Conn)) {
		for _, first := range []string{"user", "target"} {
			t.Run(first, func(t *testing.T) {
				client, server := lane()
				r := start(t, client, server, rigOptions{})
				one, two := r.user, r.target
				if first == "target" {
					one, two = two, one
				}
				send(t, one, "half a")
				receive(t, two, "half a")
				reset(t, one)
				seesReset(t, two)
				served, attended := r.keptByBoth(t)
				require.Equal(t, wire.ResetAborted, served.Reset)
				require.Equal(t, wire.ResetAborted, attended.Reset)
			})
		}
	})
}

func TestResetAfterHalfClose(t *testing.T) {
	for _, first := range []string{"user", "target"} {
		t.Run(first, func(t *testing.T) {
			client, server := tcpPair(t)
			r := start(t, client, server, rigOptions{})
			one, two := r.user, r.target
			if first == "target" {
				one, two = two, one
			}
			send(t, one, "last words")
			require.NoError(t, one.CloseWrite())
			got, err := io.ReadAll(two)
			require.NoError(t, err)
			require.Equal(t, "last words", string(got))
			reset(t, one)
			// Only what is sent to it shows a side that the other is gone.
			require.Eventually(t, func() bool {
				_, err := two.Write([]byte("more"))
				return err != nil
			}, patience, time.Millisecond)
			served, attended := r.keptByBoth(t)
			require.NotZero(t, served.Reset)
			require.NotZero(t, attended.Reset)
		})
	}
}

func TestRefusedTarget(t *testing.T) {
	inEachMode(t, func(t *testing.T, lane func() (net.Conn, net.Conn)) {
		client, server := lane()
		r := start(t, client, server, rigOptions{refuse: wire.ResetRefused})
		// The reset may be as fast as the write, and is told only once.
		if _, err := io.WriteString(r.user, "anybody there?"); err == nil {
			seesReset(t, r.user)
		} else {
			require.ErrorIs(t, err, syscall.ECONNRESET)
		}
		served, attended := r.keptByBoth(t)
		require.Equal(t, wire.ResetRefused, served.Reset)
		require.Equal(t, wire.ResetRefused, attended.Reset)

		r = start(t, client, server, rigOptions{number: 2})
		send(t, r.user, "and now?")
		receive(t, r.target, "and now?")
		r.user.Close()
		r.target.Close()
		r.keptByBoth(t)
	})
}

// TestSlowReader lets a user read only after the target has sent and closed:
// nothing is lost and nothing grows, because the target is held up.
func TestSlowReader(t *testing.T) {
	inEachMode(t, func(t *testing.T, lane func() (net.Conn, net.Conn)) {
		client, server := lane()
		r := start(t, client, server, rigOptions{})
		require.NoError(t, r.user.SetReadBuffer(256<<10))
		data := make([]byte, 48<<20)
		rand.Read(data)
		r.target.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := r.target.Write(data)
		require.Error(t, err, "the target was not held up")
		r.target.SetWriteDeadline(time.Now().Add(patience))
		go func() {
			r.target.Write(data[n:])
			r.target.CloseWrite()
		}()
		got, err := io.ReadAll(r.user)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
		r.user.Close()
		r.keptByBoth(t)
	})
}

// TestAbortWhileBlocked has one direction stuck on an endpoint that does not
// read while the other is aborted.
func TestAbortWhileBlocked(t *testing.T) {
	fill := func(c *net.TCPConn) {
		c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		c.Write(make([]byte, 64<<20))
	}
	t.Run("target resets while the user does not read", func(t *testing.T) {
		client, server := tcpPair(t)
		r := start(t, client, server, rigOptions{})
		fill(r.target)
		reset(t, r.target)
		// The user has to take what came before; then it sees the reset.
		seesReset(t, r.user)
		r.keptByBoth(t)
	})
	t.Run("user resets while the target does not read", func(t *testing.T) {
		client, server := tcpPair(t)
		r := start(t, client, server, rigOptions{})
		fill(r.user)
		reset(t, r.user)
		seesReset(t, r.target)
		r.keptByBoth(t)
	})
	t.Run("both stuck, then the user goes", func(t *testing.T) {
		client, server := tcpPair(t)
		r := start(t, client, server, rigOptions{})
		go fill(r.target)
		fill(r.user)
		reset(t, r.user)
		go io.Copy(io.Discard, r.target)
		r.results(t)
	})
}

// TestContext cuts a stream from either side; both ends see a reset.
func TestContext(t *testing.T) {
	for _, side := range []string{"server", "client"} {
		t.Run(side, func(t *testing.T) {
			client, server := tcpPair(t)
			r := start(t, client, server, rigOptions{})
			send(t, r.user, "x")
			receive(t, r.target, "x")
			if side == "server" {
				r.cancelServer()
			} else {
				r.cancelClient()
			}
			seesReset(t, r.user)
			seesReset(t, r.target)
			served, attended := r.results(t)
			require.False(t, served.Keep)
			require.False(t, attended.Keep)
			if side == "server" {
				require.ErrorIs(t, served.Err, context.Canceled)
			} else {
				require.ErrorIs(t, attended.Err, context.Canceled)
			}
		})
	}
}

// TestNoRoom: a client without a place ends the stream in order and has the
// connection closed.
func TestNoRoom(t *testing.T) {
	client, server := tcpPair(t)
	r := start(t, client, server, rigOptions{noRoom: true})
	send(t, r.user, "x")
	receive(t, r.target, "x")
	r.user.CloseWrite()
	send(t, r.target, "y")
	r.target.CloseWrite()
	receive(t, r.user, "y")
	served, attended := r.results(t)
	require.False(t, served.Keep)
	require.False(t, attended.Keep)
	require.NoError(t, served.Err)
	require.NoError(t, attended.Err)
	require.Zero(t, served.Reset)
}

// TestReuse carries 1,000 streams over one connection, ended in every way.
func TestReuse(t *testing.T) {
	inEachMode(t, func(t *testing.T, lane func() (net.Conn, net.Conn)) {
		client, server := lane()
		for n := uint32(1); n <= 1000; n++ {
			r := start(t, client, server, rigOptions{number: n})
			there, back := pattern(n, int(n%5000)+1), pattern(^n, int(n*7%9000)+1)
			go r.user.Write(there)
			got := make([]byte, len(there))
			_, err := io.ReadFull(r.target, got)
			require.NoError(t, err)
			require.True(t, bytes.Equal(there, got), "stream %d to the target", n)
			go r.target.Write(back)
			got = make([]byte, len(back))
			_, err = io.ReadFull(r.user, got)
			require.NoError(t, err)
			require.True(t, bytes.Equal(back, got), "stream %d to the user", n)
			switch n % 4 {
			case 0:
				r.user.Close()
				r.target.Close()
			case 1:
				r.target.Close()
				r.user.Close()
			case 2:
				reset(t, r.user)
			case 3:
				reset(t, r.target)
			}
			r.keptByBoth(t)
			r.user.Close()
			r.target.Close()
		}
	})
}

// TestCutDuringFin: the end of the program cuts a stream whose FIN waits for a
// reader that has stopped.
func TestCutDuringFin(t *testing.T) {
	user, inner := tcpPair(t)
	peer, conn := tcpPair(t)
	require.NoError(t, peer.SetReadBuffer(2048))
	require.NoError(t, conn.SetWriteBuffer(2048))
	for size := 12_000; size < 40_000; size += 4_000 { // in one of them the FIN does not fit behind the rest
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan Result, 1)
		go func() { served <- serveOn(ctx, inner, conn, 1, patience) }()
		wantFrame(t, peer, wire.FrameStart, 1)
		peer.Write(frame(wire.FrameAck, 1))
		user.Write(make([]byte, size))
		user.CloseWrite()
		cancel()
		await(t, served)
		user, inner = tcpPair(t)
		peer, conn = tcpPair(t)
		require.NoError(t, peer.SetReadBuffer(2048))
		require.NoError(t, conn.SetWriteBuffer(2048))
	}
}
