package relay

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/handoff"
	"github.com/tunnelpool/pool/internal/wire"
)

// soon is an ACK wait that is meant to pass.
const soon = 30 * time.Millisecond

// firstNumber is the stream of the first attempt; each further one adds 1.
const firstNumber = 5

// handing is one user that is being handed over. The test is the client on
// every connection, and the one who answers cancels.
type handing struct {
	user     *net.TCPConn
	peers    []net.Conn // the client's end of each attempt's connection
	verdicts []chan Verdict
	asks     chan uint32         // cancels, as they are sent
	answers  chan handoff.Answer // closed: nobody will answer any more
	served   chan Result
	cancel   context.CancelCauseFunc
}

// hand begins to hand a user over, on up to handoff.MaxAttempts connections
// with that wait for ACK.
func hand(t *testing.T, ackWait time.Duration) *handing { return handOwed(t, ackWait, patience) }

// handOwed is hand with a wait of its own for an ACK that is owed.
func handOwed(t *testing.T, ackWait, owedWait time.Duration) *handing {
	t.Helper()
	return handAmong(t, ackWait, owedWait, nil)
}

// handAmong is handOwed where there are others when the client is lost.
func handAmong(t *testing.T, ackWait, owedWait time.Duration, lost <-chan struct{}) *handing {
	t.Helper()
	require.Eventually(t, func() bool { return keptAll.Load() == 0 }, patience, time.Millisecond)
	h := &handing{
		asks:    make(chan uint32, handoff.MaxAttempts),
		answers: make(chan handoff.Answer, handoff.MaxAttempts),
		served:  make(chan Result, 1),
	}
	var inner *net.TCPConn
	h.user, inner = tcpPair(t)
	h.user.SetDeadline(time.Now().Add(patience))
	var ends []net.Conn
	for range handoff.MaxAttempts + 1 {
		peer, conn := tcpPair(t)
		h.peers, ends = append(h.peers, peer), append(ends, conn)
		h.verdicts = append(h.verdicts, make(chan Verdict, 2))
	}
	attempt := 0
	next := func(context.Context) (*Offering, error) {
		i := attempt
		if attempt++; attempt > len(ends) {
			return nil, errors.New("one attempt too many")
		}
		number := uint32(firstNumber + i)
		return &Offering{
			Conn: ends[i], Number: number, AckWait: ackWait, OwedWait: owedWait,
			Ask: func(ctx context.Context) (handoff.Answer, bool) {
				h.asks <- number
				select {
				case a, ok := <-h.answers:
					return a, ok
				case <-ctx.Done():
					return 0, false
				}
			},
			Lost: lost, End: func(v Verdict) { h.verdicts[i] <- v; ends[i].Close() },
		}, nil
	}
	var ctx context.Context
	ctx, h.cancel = context.WithCancelCause(context.Background())
	go func() { h.served <- serve(ctx, inner, next) }() // ends with the cleanup
	t.Cleanup(func() {
		h.cancel(errors.New("the test is over"))
		require.Eventually(t, func() bool { return keptAll.Load() == 0 }, patience, time.Millisecond,
			"copies are still held")
	})
	return h
}

// offered reads START and the payload of the user's bytes that must follow on
// that attempt's connection, and FIN if the user ended.
func (h *handing) offered(t *testing.T, attempt int, payload string, fin bool) {
	t.Helper()
	n := uint32(firstNumber + attempt)
	wantFrame(t, h.peers[attempt], wire.FrameStart, n)
	h.reads(t, attempt, payload)
	if fin {
		wantFrame(t, h.peers[attempt], wire.FrameFin, n)
	}
}

// reads takes DATA until payload is whole.
func (h *handing) reads(t *testing.T, attempt int, payload string) {
	t.Helper()
	got := ""
	for len(got) < len(payload) {
		got += string(wantFrame(t, h.peers[attempt], wire.FrameData, uint32(firstNumber+attempt)))
	}
	require.Equal(t, payload, got)
}

// says writes frames of that attempt's stream.
func (h *handing) says(t *testing.T, attempt int, types ...wire.FrameType) {
	t.Helper()
	var b []byte
	for _, typ := range types {
		var payload []byte
		switch typ {
		case wire.FrameDone:
			payload = []byte{byte(wire.Keep)}
		case wire.FrameData:
			payload = []byte("answer")
		}
		b = append(b, frame(typ, uint32(firstNumber+attempt), payload...)...)
	}
	_, err := h.peers[attempt].Write(b)
	require.NoError(t, err)
}

// asked waits for the cancel of that attempt's stream.
func (h *handing) asked(t *testing.T, attempt int) {
	t.Helper()
	require.EqualValues(t, firstNumber+attempt, await(t, h.asks))
}

// completes takes the stream to its end on that attempt's connection, where the
// copy and the user's FIN have been read.
func (h *handing) completes(t *testing.T, attempt int) {
	t.Helper()
	h.says(t, attempt, wire.FrameAck, wire.FrameData, wire.FrameFin, wire.FrameDone)
	receive(t, h.user, "answer")
	h.over(t, attempt, Keep)
}

// over wants the attempts to have ended with these verdicts in turn, each once,
// and a result that fits.
func (h *handing) over(t *testing.T, replays int, verdicts ...Verdict) {
	t.Helper()
	res := await(t, h.served)
	require.Equal(t, replays, res.Replays)
	last := verdicts[len(verdicts)-1]
	require.Equal(t, last == Keep, res.Keep, "%+v", res)
	require.Equal(t, last, await(t, h.verdicts[replays]))
	for i, v := range h.verdicts {
		require.Empty(t, v, "attempt %d ended twice, or never began", i)
	}
	require.Zero(t, keptAll.Load())
}

// lost wants the user reset for want of an ACK, after that many replays.
func (h *handing) lost(t *testing.T, replays int) {
	t.Helper()
	seesReset(t, h.user)
	res := await(t, h.served)
	require.ErrorIs(t, res.Err, ErrNoAck)
	require.Equal(t, replays, res.Replays)
	require.False(t, res.Keep)
	require.Zero(t, keptAll.Load())
	requireHungUp(t, h.peers[replays])
}

// requireHungUp wants the server to have closed a connection.
func requireHungUp(t *testing.T, peer net.Conn) {
	t.Helper()
	peer.SetReadDeadline(time.Now().Add(patience))
	for {
		if _, err := peer.Read(make([]byte, 4096)); err != nil {
			require.False(t, isTimeout(err), "the server holds the connection")
			return
		}
	}
}
