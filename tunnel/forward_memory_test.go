package tunnel

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
)

// TestForwardOutcomes: a client asks, in a later session of its instance, what
// became of the streams that it opened for forwards. What has committed is never
// answered with "refused", upon which its user would be offered again: not by a
// server that remembers, nor by one that was started anew.
func TestForwardOutcomes(t *testing.T) {
	target := startTarget(t, echo)
	h := startServer(t, pool.TLSPlain, allowing(target))
	me := wire.Join{Identity: [16]byte{1}, Instance: [16]byte{2}, Name: "by hand"}
	control, w := h.joinAs(t, h.key, me)
	say(t, control, wire.Forward{Network: wire.NetworkTCP, Target: target})
	require.Empty(t, answers[wire.Forwarded](t, control, 1)[0].Text)
	conn := h.openForwarded(t, control, w, 1)
	receive(t, conn, string(wire.AppendFrame(nil, wire.FrameAck, 1)))
	control.Close()
	conn.Close()
	h.away(t)
	outcomeOf := func(h *host, number uint32) wire.Outcome {
		control, _ := h.joinAs(t, h.key, me)
		defer h.away(t)
		defer control.Close()
		say(t, control, wire.Cancel{Stream: number})
		return answers[wire.Canceled](t, control, 1)[0].Outcome
	}
	require.Equal(t, wire.Committed, outcomeOf(h, 1))
	require.Equal(t, wire.Refused, outcomeOf(h, 2), "its Open was lost")

	anew := startServer(t, pool.TLSPlain, allowing(target), func(cfg *ServerConfig) { cfg.Keys = []pool.Key{h.key} })
	anew.key = h.key
	require.Equal(t, wire.Unknown, outcomeOf(anew, 1))
	require.Equal(t, wire.Unknown, outcomeOf(anew, 1))

	control, w = anew.joinAs(t, h.key, me)
	say(t, control, wire.Forward{Network: wire.NetworkTCP, Target: target})
	require.Empty(t, answers[wire.Forwarded](t, control, 1)[0].Text)
	conn = anew.openForwarded(t, control, w, 5)
	receive(t, conn, string(wire.AppendFrame(nil, wire.FrameAck, 5)))
	for number, outcome := range map[uint32]wire.Outcome{4: wire.Unknown, 5: wire.Committed, 6: wire.Refused} {
		say(t, control, wire.Cancel{Stream: number})
		require.Equal(t, outcome, answers[wire.Canceled](t, control, 1)[0].Outcome, "stream %d", number)
	}
}

// openForwarded begins a stream of the forward with ref 0, by hand.
func (h *host) openForwarded(t *testing.T, control net.Conn, w wire.Welcome, number uint32) net.Conn {
	t.Helper()
	conn, err := h.knock(t, h.key.Session(w.Secret[:]), wire.KindForward, w.Session[:])
	require.NoError(t, err)
	var id pool.ID
	_, err = io.ReadFull(conn, id[:])
	require.NoError(t, err)
	say(t, control, wire.Open{Stream: number, ID: id, User: "192.0.2.1:4000"})
	_, err = conn.Write(wire.AppendFrame(nil, wire.FrameStart, number))
	require.NoError(t, err)
	return conn
}

// TestForwardOutcomesOfMany: a client that comes as many, each of which opens a
// stream and leaves, does not make the server remember them all.
func TestForwardOutcomesOfMany(t *testing.T) {
	h := startServer(t, pool.TLSPlain, allowing("127.0.0.1:1"))
	remembered := func() int {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.publishers)
	}
	for range maxAbsentOutcomes + 50 {
		control, _ := h.join(t, h.key, "one of many")
		say(t, control, wire.Forward{Network: wire.NetworkTCP, Target: "127.0.0.1:1"}, wire.Open{Stream: 1, ID: [8]byte([]byte("abcdefgh"))})
		answers[wire.Forwarded](t, control, 1)
		control.Close()
		h.away(t)
	}
	require.LessOrEqual(t, remembered(), maxAbsentOutcomes)
}
