package relay

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/handoff"
	"github.com/tunnelpool/pool/internal/wire"
)

// TestMeter: both sides count what passes while it does, and the first answer is
// told of once.
func TestMeter(t *testing.T) {
	inEachMode(t, func(t *testing.T, lane func() (net.Conn, net.Conn)) {
		client, server := lane()
		user, accepted := tcpPair(t)
		dialed, target := tcpPair(t)
		user.SetDeadline(time.Now().Add(patience))
		target.SetDeadline(time.Now().Add(patience))
		var users, targets Meter
		first := make(chan struct{}, 9)
		served, attended := make(chan Result, 1), make(chan Result, 1)
		go func() {
			served <- serve(t.Context(), accepted, func(context.Context) (*Offering, error) {
				return &Offering{
					Conn: server, Number: 1, AckWait: patience, End: func(Verdict) {},
					Ask:   func(context.Context) (handoff.Answer, bool) { return 0, false },
					Meter: &users, FirstByte: func() { first <- struct{}{} },
				}, nil
			})
		}()
		go func() {
			attended <- attend(t.Context(), client, Task{
				Number: 1, StartWait: patience, Commit: agree, Reserve: agree, Meter: &targets,
				Dial: func(context.Context) (net.Conn, wire.ResetReason) { return dialed, 0 },
			})
		}()
		send(t, user, "question")
		receive(t, target, "question")
		require.Empty(t, first, "nothing has gone back yet")
		send(t, target, "an ")
		receive(t, user, "an ")
		await(t, first)
		send(t, target, "answer")
		receive(t, user, "answer")
		for _, m := range []struct {
			meter          *Meter
			sent, received int64
		}{{&users, 8, 9}, {&targets, 9, 8}} { // the streams run still
			require.Equal(t, m.sent, m.meter.Sent.Load())
			require.Equal(t, m.received, m.meter.Received.Load())
		}
		user.CloseWrite()
		target.CloseWrite()
		require.EqualValues(t, 8, await(t, served).Sent)
		require.EqualValues(t, 9, await(t, attended).Sent)
		require.Empty(t, first)
	})
}

// TestMeterOfTheOneWhoTookIt: a user who is offered twice counts where the second
// client took it, with what was said before.
func TestMeterOfTheOneWhoTookIt(t *testing.T) {
	var lost, taker Meter
	user, accepted := tcpPair(t)
	user.SetDeadline(time.Now().Add(patience))
	dead, deadEnd := tcpPair(t)
	peer, end := tcpPair(t)
	offers := []*Offering{
		{Conn: deadEnd, Number: 1, AckWait: soon, Meter: &lost},
		{Conn: end, Number: 2, AckWait: patience, Meter: &taker},
	}
	for _, o := range offers {
		o.Ask = func(context.Context) (handoff.Answer, bool) { return handoff.Refused, true }
		o.End = func(Verdict) {}
	}
	served := make(chan Result, 1)
	go func() {
		served <- serve(t.Context(), accepted, func(context.Context) (*Offering, error) {
			o := offers[0]
			offers = offers[1:]
			return o, nil
		})
	}()
	send(t, user, "hello")
	wantFrame(t, dead, wire.FrameStart, 1)
	wantFrame(t, peer, wire.FrameStart, 2)
	require.Equal(t, "hello", string(wantFrame(t, peer, wire.FrameData, 2)))
	require.Zero(t, taker.Sent.Load())
	_, err := peer.Write(frame(wire.FrameAck, 2))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return taker.Sent.Load() == 5 }, patience, time.Millisecond)
	send(t, user, "more")
	require.Equal(t, "more", string(wantFrame(t, peer, wire.FrameData, 2)))
	require.EqualValues(t, 9, taker.Sent.Load())
	require.Zero(t, lost.Sent.Load())
	reset(t, user)
	peer.Close()
	await(t, served)
}
