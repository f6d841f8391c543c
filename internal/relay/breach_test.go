package relay

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/wire"
)

// serveAlone runs Serve; the test is the client at the other end.
func serveAlone(t *testing.T, n uint32, ackWait time.Duration) (user *net.TCPConn, peer net.Conn, served chan Result) {
	t.Helper()
	user, inner := tcpPair(t)
	peer, conn := tcpPair(t)
	user.SetDeadline(time.Now().Add(patience))
	served = make(chan Result, 1)
	go func() { served <- serveOn(t.Context(), inner, conn, n, ackWait) }()
	return user, peer, served
}

// attendAlone runs Attend; the test is the server at the other end.
func attendAlone(t *testing.T, n uint32, startWait time.Duration) (target *net.TCPConn, peer net.Conn, attended chan Result) {
	t.Helper()
	inner, target := tcpPair(t)
	conn, peer := tcpPair(t)
	target.SetDeadline(time.Now().Add(patience))
	attended = make(chan Result, 1)
	go func() {
		attended <- attend(t.Context(), conn, Task{
			Commit: agree,
			Number: n, StartWait: startWait,
			Dial:    func(context.Context) (net.Conn, wire.ResetReason) { return inner, 0 },
			Reserve: func() bool { return true },
		})
	}()
	return target, peer, attended
}

// TestServeBreaches plays a client that breaks the protocol. The user gets
// what was in order before, sees a reset, and the connection is not kept.
func TestServeBreaches(t *testing.T) {
	ack, fin := frame(wire.FrameAck, 5), frame(wire.FrameFin, 5)
	data, done := frame(wire.FrameData, 5, 'h', 'i'), frame(wire.FrameDone, 5, byte(wire.Keep))
	for _, tt := range []struct {
		name    string
		sent    []byte
		user    string // what reaches the user before the reset
		closing bool   // the user ends first, so that both directions can
		err     error
	}{
		{"no ACK", data, "", false, errProtocol},
		{"second ACK", frames(ack, ack), "", false, errProtocol},
		{"START", frames(ack, frame(wire.FrameStart, 5)), "", false, errProtocol},
		{"newer number", frames(ack, data, frame(wire.FrameData, 6, 'x')), "hi", false, errProtocol},
		{"DATA after FIN", frames(ack, data, fin, data), "hi", false, errProtocol},
		{"FIN after FIN", frames(ack, fin, fin), "", false, errProtocol},
		{"DONE before FIN", frames(ack, data, done), "hi", false, errProtocol},
		{"DONE before the user's end", frames(ack, data, fin, done), "hi", false, errProtocol},
		{"bytes after DONE", frames(ack, data, fin, done, []byte{1}), "hi", true, errProtocol},
		{"unknown type", frames(ack, []byte{9, 0, 0, 0, 0, 0, 0, 5}), "", false, errProtocol},
		{"unknown reason", frames(ack, frame(wire.FrameReset, 5, 99)), "", false, errProtocol},
		{"unknown disposition", frames(ack, fin, frame(wire.FrameDone, 5, 99)), "", true, errProtocol},
		{"stream 0", frames(ack, []byte{3, 0, 0, 1, 0, 0, 0, 0, 'x'}), "", false, errProtocol},
		{"oversized DATA", frames(ack, []byte{3, 0x20, 0, 0, 0, 0, 0, 5}), "", false, errProtocol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			user, peer, served := serveAlone(t, 5, patience)
			wantFrame(t, peer, wire.FrameStart, 5)
			if tt.closing {
				user.CloseWrite()
				wantFrame(t, peer, wire.FrameFin, 5)
			}
			_, err := peer.Write(tt.sent)
			require.NoError(t, err)
			got, _ := io.ReadAll(user) // the reset is a race with the last bytes
			require.Contains(t, tt.user, string(got))
			res := await(t, served)
			require.False(t, res.Keep)
			require.ErrorIs(t, res.Err, tt.err)
		})
	}
}

// TestAttendBreaches plays a server that does.
func TestAttendBreaches(t *testing.T) {
	begin, fin := frame(wire.FrameStart, 5), frame(wire.FrameFin, 5)
	for _, tt := range []struct {
		name string
		sent []byte
	}{
		{"no START", frame(wire.FrameData, 5, 'x')},
		{"START of a newer stream", frame(wire.FrameStart, 6)},
		{"second START", frames(begin, begin)},
		{"ACK", frames(begin, frame(wire.FrameAck, 5))},
		{"DONE", frames(begin, fin, frame(wire.FrameDone, 5, byte(wire.Keep)))},
		{"newer number", frames(begin, frame(wire.FrameData, 6, 'x'))},
		{"DATA after FIN", frames(begin, fin, frame(wire.FrameData, 5, 'x'))},
		{"DATA after RESET", frames(begin, frame(wire.FrameReset, 5, 1), frame(wire.FrameData, 5, 'x'))},
		{"malformed", frames(begin, []byte("GET / HTTP/1.1\r\n"))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target, peer, attended := attendAlone(t, 5, patience)
			_, err := peer.Write(tt.sent)
			require.NoError(t, err)
			res := await(t, attended)
			if bytes.HasPrefix(tt.sent, begin) { // else the target was not dialed
				got, _ := io.ReadAll(target)
				require.Empty(t, got)
			}
			if tt.name == "DATA after RESET" && res.Err == nil {
				// Both directions had ended when it came: it is the next
				// stream's to drop, or leftover that costs the connection.
				return
			}
			require.False(t, res.Keep)
			require.ErrorIs(t, res.Err, errProtocol)
		})
	}
}

// TestOldFrames: what is left of older streams is dropped, payload and all.
func TestOldFrames(t *testing.T) {
	old := frames(frame(wire.FrameReset, 3, 1), frame(wire.FrameData, 4, pattern(4, 70_000)...), frame(wire.FrameFin, 4))
	t.Run("client", func(t *testing.T) {
		target, peer, attended := attendAlone(t, 5, patience)
		_, err := peer.Write(frames(old, frame(wire.FrameStart, 5), old, frame(wire.FrameData, 5, []byte("new")...), old, frame(wire.FrameFin, 5)))
		require.NoError(t, err)
		got, err := io.ReadAll(target)
		require.NoError(t, err)
		require.Equal(t, "new", string(got))
		target.Close()
		wantFrame(t, peer, wire.FrameAck, 5)
		wantFrame(t, peer, wire.FrameFin, 5)
		require.Equal(t, []byte{byte(wire.Keep)}, wantFrame(t, peer, wire.FrameDone, 5))
		require.True(t, await(t, attended).Keep)
	})
	t.Run("server", func(t *testing.T) {
		user, peer, served := serveAlone(t, 5, patience)
		user.CloseWrite()
		wantFrame(t, peer, wire.FrameStart, 5)
		wantFrame(t, peer, wire.FrameFin, 5)
		_, err := peer.Write(frames(old, frame(wire.FrameAck, 5), old, frame(wire.FrameData, 5, []byte("new")...), frame(wire.FrameFin, 5), frame(wire.FrameDone, 5, byte(wire.Keep))))
		require.NoError(t, err)
		got, err := io.ReadAll(user)
		require.NoError(t, err)
		require.Equal(t, "new", string(got))
		require.True(t, await(t, served).Keep)
	})
}

// TestEndOfFileBeforeFIN is a reset, on both sides.
func TestEndOfFileBeforeFIN(t *testing.T) {
	user, peer, served := serveAlone(t, 5, patience)
	wantFrame(t, peer, wire.FrameStart, 5)
	_, err := peer.Write(frames(frame(wire.FrameAck, 5), frame(wire.FrameData, 5, 'h', 'i')))
	require.NoError(t, err)
	receive(t, user, "hi")
	peer.Close()
	seesReset(t, user)
	require.ErrorIs(t, await(t, served).Err, io.ErrUnexpectedEOF)

	target, peer, attended := attendAlone(t, 5, patience)
	_, err = peer.Write(frames(frame(wire.FrameStart, 5), frame(wire.FrameData, 5, 'h', 'i')))
	require.NoError(t, err)
	receive(t, target, "hi")
	wantFrame(t, peer, wire.FrameAck, 5)
	peer.Close()
	seesReset(t, target)
	require.ErrorIs(t, await(t, attended).Err, io.ErrUnexpectedEOF)
}

// TestResetAfterFIN: the one frame that may follow a FIN.
func TestResetAfterFIN(t *testing.T) {
	gone := func(c net.Conn) { // it saw an orderly end first; only its writes tell
		t.Helper()
		require.Eventually(t, func() bool {
			_, err := c.Write([]byte("x"))
			return err != nil
		}, patience, time.Millisecond)
	}
	user, peer, served := serveAlone(t, 5, patience)
	wantFrame(t, peer, wire.FrameStart, 5)
	_, err := peer.Write(frames(frame(wire.FrameAck, 5), frame(wire.FrameFin, 5), frame(wire.FrameReset, 5, byte(wire.ResetTimeout))))
	require.NoError(t, err)
	require.Equal(t, []byte{byte(wire.ResetTimeout)}, wantFrame(t, peer, wire.FrameReset, 5))
	gone(user)
	_, err = peer.Write(frame(wire.FrameDone, 5, byte(wire.Keep)))
	require.NoError(t, err)
	res := await(t, served)
	require.True(t, res.Keep)
	require.Equal(t, wire.ResetTimeout, res.Reset)

	target, peer, attended := attendAlone(t, 5, patience)
	_, err = peer.Write(frames(frame(wire.FrameStart, 5), frame(wire.FrameFin, 5)))
	require.NoError(t, err)
	_, err = io.ReadAll(target)
	require.NoError(t, err)
	_, err = peer.Write(frame(wire.FrameReset, 5, byte(wire.ResetAborted)))
	require.NoError(t, err)
	wantFrame(t, peer, wire.FrameAck, 5)
	wantFrame(t, peer, wire.FrameReset, 5)
	require.Equal(t, []byte{byte(wire.Keep)}, wantFrame(t, peer, wire.FrameDone, 5))
	require.True(t, await(t, attended).Keep)
	gone(target)
}

func TestDeadlines(t *testing.T) {
	const wait = 50 * time.Millisecond
	t.Run("ACK", func(t *testing.T) {
		user, _, served := serveAlone(t, 5, wait)
		seesReset(t, user)
		res := await(t, served)
		require.ErrorIs(t, res.Err, ErrNoAck)
		require.ErrorContains(t, res.Err, "50ms")
	})
	t.Run("ACK of a connection that ends", func(t *testing.T) {
		user, peer, served := serveAlone(t, 5, patience)
		wantFrame(t, peer, wire.FrameStart, 5)
		peer.Close()
		seesReset(t, user)
		require.ErrorIs(t, await(t, served).Err, ErrNoAck)
	})
	t.Run("START", func(t *testing.T) {
		_, _, attended := attendAlone(t, 5, wait)
		res := await(t, attended)
		require.True(t, isTimeout(res.Err), "%v", res.Err)
		require.False(t, res.Keep)
	})
	t.Run("START when the program ends", func(t *testing.T) {
		conn, _ := tcpPair(t)
		ctx, cancel := context.WithCancel(t.Context())
		attended := make(chan Result, 1)
		go func() { attended <- attend(ctx, conn, Task{Number: 1, Commit: agree, StartWait: patience}) }()
		cancel()
		require.Error(t, await(t, attended).Err)
	})
	t.Run("no deadline once running", func(t *testing.T) {
		// A stream may be silent for longer than the waits at its start.
		client, server := tcpPair(t)
		r := start(t, client, server, rigOptions{ackWait: wait})
		send(t, r.target, "a")
		receive(t, r.user, "a")
		r.user.SetReadDeadline(time.Now().Add(3 * wait))
		_, err := r.user.Read(make([]byte, 1))
		require.True(t, isTimeout(err))
		r.user.SetReadDeadline(time.Now().Add(patience))
		send(t, r.target, "b")
		receive(t, r.user, "b")
		r.user.Close()
		r.target.Close()
		r.results(t)
	})
}
