package relay

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/handoff"
	"github.com/tunnelpool/pool/internal/wire"
)

// lose begins to hand over a user who says something, and loses the client,
// with the connection or without, when it is asked.
func lose(t *testing.T, said string, dead bool) *handing {
	t.Helper()
	lost := make(chan struct{})
	h := handAmong(t, soon, patience, lost)
	send(t, h.user, said)
	h.offered(t, 0, said, false)
	if dead {
		h.peers[0].Close()
	}
	h.asked(t, 0)
	close(lost)
	return h
}

// TestLostAmongOthers: the client is lost and there are others. Who has said
// nothing is offered to them at once; who has waits for the answer.
func TestLostAmongOthers(t *testing.T) {
	for _, dead := range []bool{true, false} {
		h := lose(t, "", dead)
		h.offered(t, 1, "", false)
		requireHungUp(t, h.peers[0])
		send(t, h.user, "hello")
		require.NoError(t, h.user.CloseWrite())
		h.reads(t, 1, "hello")
		wantFrame(t, h.peers[1], wire.FrameFin, firstNumber+1)
		require.Equal(t, Close, await(t, h.verdicts[0]))
		h.completes(t, 1)

		h = lose(t, "hello", dead)
		h.answers <- handoff.Refused
		h.offered(t, 1, "hello", false)
		require.Equal(t, Dead, await(t, h.verdicts[0]))
		require.NoError(t, h.user.CloseWrite())
		wantFrame(t, h.peers[1], wire.FrameFin, firstNumber+1)
		h.completes(t, 1)
	}
}

// TestLateACKAmongOthers: the client is lost and its connection is not.
func TestLateACKAmongOthers(t *testing.T) {
	h := lose(t, "hello", false)
	require.NoError(t, h.user.CloseWrite())
	wantFrame(t, h.peers[0], wire.FrameFin, firstNumber)
	h.completes(t, 0)
}

// TestNoAnswerAmongOthers: a client that is there and never answers keeps nobody
// who has said nothing.
func TestNoAnswerAmongOthers(t *testing.T) {
	h := handAmong(t, soon, 10*soon, make(chan struct{}))
	h.offered(t, 0, "", false)
	h.asked(t, 0)
	begun := time.Now()
	h.offered(t, 1, "", false)
	require.GreaterOrEqual(t, time.Since(begun), 5*soon, "the answer has its time")
}
