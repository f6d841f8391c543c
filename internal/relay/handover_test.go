package relay

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/handoff"
	"github.com/tunnelpool/pool/internal/wire"
)

func TestLateACKSettlesIt(t *testing.T) {
	h := hand(t, soon)
	send(t, h.user, "hello")
	require.NoError(t, h.user.CloseWrite())
	h.offered(t, 0, "hello", true)
	h.asked(t, 0)
	h.completes(t, 0) // nobody answers
}

func TestCommittedThenACK(t *testing.T) {
	h := hand(t, time.Second)
	send(t, h.user, "hello")
	require.NoError(t, h.user.CloseWrite())
	h.offered(t, 0, "hello", true)
	h.asked(t, 0)
	h.answers <- handoff.Committed
	h.completes(t, 0)
}

// TestCommittedThenLateACK: an ACK that is owed may take far longer than one
// that the client was not asked for.
func TestCommittedThenLateACK(t *testing.T) {
	h := hand(t, soon)
	send(t, h.user, "hello")
	require.NoError(t, h.user.CloseWrite())
	h.offered(t, 0, "hello", true)
	h.asked(t, 0)
	h.answers <- handoff.Committed
	time.Sleep(10 * soon) // the delay is the fault
	h.completes(t, 0)
}

func TestCommittedWithoutACK(t *testing.T) {
	h := handOwed(t, soon, soon)
	h.offered(t, 0, "", false)
	h.asked(t, 0)
	h.answers <- handoff.Committed
	h.lost(t, 0)
	require.Equal(t, Close, await(t, h.verdicts[0]))
}

// TestCommittedAndDead: the ACK went down with the connection; the target may
// have been dialed.
func TestCommittedAndDead(t *testing.T) {
	h := hand(t, patience)
	h.offered(t, 0, "", false)
	h.peers[0].Close()
	h.asked(t, 0)
	h.answers <- handoff.Committed
	h.lost(t, 0)
}

// TestRefusedIsReplayed: all that the user said, its end-of-file included, goes
// out again, and what it says later follows.
func TestRefusedIsReplayed(t *testing.T) {
	for _, ended := range []bool{true, false} {
		h := hand(t, time.Second)
		send(t, h.user, "first, ")
		h.offered(t, 0, "first, ", false)
		send(t, h.user, "second, ")
		h.reads(t, 0, "second, ")
		if ended {
			require.NoError(t, h.user.CloseWrite())
			wantFrame(t, h.peers[0], wire.FrameFin, firstNumber)
		}
		h.asked(t, 0)
		h.answers <- handoff.Refused
		require.Equal(t, Dead, await(t, h.verdicts[0]))
		requireHungUp(t, h.peers[0])
		h.offered(t, 1, "first, second, ", ended)
		if !ended {
			send(t, h.user, "third")
			require.NoError(t, h.user.CloseWrite())
			h.reads(t, 1, "third")
			wantFrame(t, h.peers[1], wire.FrameFin, firstNumber+1)
		}
		h.completes(t, 1)
	}
}

// TestNoAnswerToRelyOn: whoever remembers nothing, and whoever is gone, may be
// offered again only what no target can have seen.
func TestNoAnswerToRelyOn(t *testing.T) {
	for _, tt := range []struct {
		name   string
		said   string
		ended  bool
		replay bool
	}{{"nothing sent", "", false, true}, {"bytes sent", "hello", false, false}, {"only an end sent", "", true, false}} {
		for _, silent := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				h := hand(t, soon)
				send(t, h.user, tt.said)
				if tt.ended {
					require.NoError(t, h.user.CloseWrite())
				}
				h.offered(t, 0, tt.said, tt.ended)
				h.asked(t, 0)
				if silent {
					close(h.answers)
				} else {
					h.answers <- handoff.Unknown
				}
				require.Equal(t, Close, await(t, h.verdicts[0]), "no death verdict")
				if !tt.replay {
					h.lost(t, 0)
					return
				}
				h.offered(t, 1, "", false)
				h.says(t, 1, wire.FrameAck)
				require.NoError(t, h.user.CloseWrite())
				wantFrame(t, h.peers[1], wire.FrameFin, firstNumber+1)
				h.says(t, 1, wire.FrameFin, wire.FrameDone)
				h.over(t, 1, Keep)
			})
		}
	}
}

func TestThreeAttempts(t *testing.T) {
	h := hand(t, soon)
	send(t, h.user, "hello")
	for i := range handoff.MaxAttempts {
		h.offered(t, i, "hello", false)
		h.asked(t, i)
		h.answers <- handoff.Refused
	}
	h.lost(t, handoff.MaxAttempts-1)
	for i := range handoff.MaxAttempts - 1 {
		require.Equal(t, Dead, await(t, h.verdicts[i]))
	}
}

// TestBrokenUnderAWrite: the connection is found broken by the write of the
// user's own bytes; they go out whole on the next.
func TestBrokenUnderAWrite(t *testing.T) {
	h := hand(t, patience)
	data := pattern(1, 60_000)
	h.offered(t, 0, "", false)
	reset(t, h.peers[0].(*net.TCPConn))
	h.asked(t, 0) // by now the connection is closed, and every write fails
	_, err := h.user.Write(data)
	require.NoError(t, err)
	require.NoError(t, h.user.CloseWrite())
	h.answers <- handoff.Refused
	require.Equal(t, Dead, await(t, h.verdicts[0]))
	h.offered(t, 1, string(data), true)
	h.completes(t, 1)
}

// TestUserLeavesBeforeACK: nobody is offered again, and a client that commits
// late and ends in order keeps its connection.
func TestUserLeavesBeforeACK(t *testing.T) {
	leaves := func(h *handing) {
		h.offered(t, 0, "", false)
		h.asked(t, 0)
		reset(t, h.user)
		wantFrame(t, h.peers[0], wire.FrameReset, firstNumber)
	}
	t.Run("refused", func(t *testing.T) {
		h := hand(t, soon)
		leaves(h)
		h.answers <- handoff.Refused
		err := await(t, h.served).Err
		require.ErrorIs(t, err, errLeft)
		require.NotErrorIs(t, err, ErrNoAck, "it is not the tunnel that lost the user")
		require.Equal(t, Dead, await(t, h.verdicts[0]))
		require.Empty(t, h.verdicts[1], "offered again")
	})
	for name, answered := range map[string]bool{"late ACK": false, "committed": true} {
		t.Run(name, func(t *testing.T) {
			h := hand(t, 100*time.Millisecond)
			leaves(h)
			if answered {
				h.answers <- handoff.Committed
			}
			h.says(t, 0, wire.FrameAck)
			// Longer than the wait for ACK: what bounds the end is its own.
			end := time.AfterFunc(300*time.Millisecond, func() {
				h.peers[0].Write(frames(frame(wire.FrameReset, firstNumber, byte(wire.ResetAborted)),
					frame(wire.FrameDone, firstNumber, byte(wire.Keep))))
			})
			defer end.Stop()
			h.over(t, 0, Keep)
		})
	}
}

// failing is a user whose connection fails when it is told to.
type failing struct {
	net.Conn
	fail chan struct{}
}

func (f failing) Read([]byte) (int, error) { <-f.fail; return 0, io.ErrClosedPipe }

// TestAbortBeforeACKIsBounded: the user fails before the client is asked or
// while it is; the client commits then, and never ends the stream.
func TestAbortBeforeACKIsBounded(t *testing.T) {
	t.Run("before", func(t *testing.T) { abortBeforeACK(t, true) })
	t.Run("while", func(t *testing.T) { abortBeforeACK(t, false) })
}

func abortBeforeACK(t *testing.T, early bool) {
	synctest.Test(t, func(t *testing.T) {
		far, inner := net.Pipe()
		defer far.Close()
		peer, conn := net.Pipe()
		user := failing{inner, make(chan struct{})}
		served := make(chan Result, 1)
		asked := make(chan struct{})
		go func() {
			served <- serve(t.Context(), user, func(context.Context) (*Offering, error) {
				return &Offering{
					Conn: conn, Number: firstNumber, AckWait: time.Second,
					Ask: func(ctx context.Context) (handoff.Answer, bool) {
						close(asked)
						<-ctx.Done()
						return 0, false
					},
					End: func(Verdict) {},
				}, nil
			})
		}()
		wantFrame(t, peer, wire.FrameStart, firstNumber)
		if !early {
			<-asked
		}
		close(user.fail)
		wantFrame(t, peer, wire.FrameReset, firstNumber)
		<-asked
		synctest.Wait()
		peer.SetDeadline(time.Time{})
		begun := time.Now()
		_, err := peer.Write(frame(wire.FrameAck, firstNumber))
		require.NoError(t, err)
		require.False(t, (<-served).Keep)
		require.LessOrEqual(t, time.Since(begun), resetDrain)
	})
}

func TestProgramEndsDuringAsk(t *testing.T) {
	why := errors.New("stopping")
	for _, broken := range []bool{false, true} {
		h := hand(t, soon)
		send(t, h.user, "hello")
		h.offered(t, 0, "hello", false)
		if broken {
			h.peers[0].Close()
		}
		h.asked(t, 0)
		h.cancel(why)
		seesReset(t, h.user)
		require.ErrorIs(t, await(t, h.served).Err, why)
		require.Equal(t, Close, await(t, h.verdicts[0]))
		require.Empty(t, h.verdicts[1])
	}
}

// TestCopyIsBounded: of a user who says more before ACK no more than the bound
// is read; after it everything arrives, in order.
func TestCopyIsBounded(t *testing.T) {
	h := hand(t, time.Second)
	data := pattern(2, 4<<20)
	go func() { // ends with the stream, or the cleanup
		h.user.Write(data)
		h.user.CloseWrite()
	}()
	h.offered(t, 0, string(data[:maxKept]), false)
	require.EqualValues(t, maxKept, keptAll.Load())
	h.asked(t, 0)
	h.answers <- handoff.Refused
	h.offered(t, 1, string(data[:maxKept]), false)
	h.peers[1].SetReadDeadline(time.Now().Add(soon))
	_, err := h.peers[1].Read(make([]byte, 1))
	require.True(t, isTimeout(err), "the user was read beyond the bound")

	h.says(t, 1, wire.FrameAck)
	sum := sha256.New()
	sum.Write(data[:maxKept])
	for {
		head, payload := readFrame(t, h.peers[1])
		if head.Type == wire.FrameFin {
			break
		}
		sum.Write(payload)
	}
	want := sha256.Sum256(data)
	require.Equal(t, want[:], sum.Sum(nil))
	require.Zero(t, keptAll.Load(), "held after ACK")
	h.says(t, 1, wire.FrameFin, wire.FrameDone)
	_, err = io.ReadAll(h.user)
	require.NoError(t, err)
	require.Equal(t, Dead, await(t, h.verdicts[0]))
	h.over(t, 1, Keep)
}

// TestAllCopiesAreBounded: with no room left in the process a user is not read
// until ACK, and then is.
func TestAllCopiesAreBounded(t *testing.T) {
	require.Eventually(t, func() bool { return keptAll.Load() == 0 }, patience, time.Millisecond)
	keptAll.Add(maxKeptAll)
	user, peer, served := serveAlone(t, firstNumber, patience)
	send(t, user, "hello")
	wantFrame(t, peer, wire.FrameStart, firstNumber)
	peer.SetReadDeadline(time.Now().Add(soon))
	_, err := peer.Read(make([]byte, 1))
	require.True(t, isTimeout(err))
	require.EqualValues(t, maxKeptAll, keptAll.Load())
	_, err = peer.Write(frame(wire.FrameAck, firstNumber))
	require.NoError(t, err)
	require.Equal(t, "hello", string(wantFrame(t, peer, wire.FrameData, firstNumber)))
	user.Close()
	wantFrame(t, peer, wire.FrameFin, firstNumber)
	_, err = peer.Write(frames(frame(wire.FrameFin, firstNumber), frame(wire.FrameDone, firstNumber, byte(wire.Keep))))
	require.NoError(t, err)
	require.True(t, await(t, served).Keep)
	require.EqualValues(t, maxKeptAll, keptAll.Add(0))
	keptAll.Add(-maxKeptAll)
}

// TestCanceledBeforeSTART: a client that may not commit writes nothing and
// leaves the connection to its caller, who closes it.
func TestCanceledBeforeSTART(t *testing.T) {
	conn, peer := tcpPair(t)
	_, err := peer.Write(frame(wire.FrameStart, firstNumber))
	require.NoError(t, err)
	res := attend(t.Context(), conn, Task{
		Number: firstNumber, StartWait: patience,
		Commit: func() bool { return false },
		Dial: func(context.Context) (net.Conn, wire.ResetReason) {
			t.Error("dialed for a canceled stream")
			return nil, wire.ResetInternal
		},
	})
	require.ErrorIs(t, res.Err, errCanceled)
	require.False(t, res.Keep)
	conn.Close()
	got, err := io.ReadAll(peer)
	require.NoError(t, err)
	require.Empty(t, got)
}
