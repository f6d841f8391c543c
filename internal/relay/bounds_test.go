package relay

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/wire"
)

// The tests here have net.Pipe for sockets and run on a fake clock: an aborted
// stream ends within resetDrain whatever the peer does.

// serveOnPipes runs Serve; the test holds the user and the client.
func serveOnPipes(t *testing.T) (user, peer net.Conn, served chan Result) {
	user, inner := net.Pipe()
	peer, conn := net.Pipe()
	served = make(chan Result, 1)
	go func() { served <- serveOn(t.Context(), inner, conn, 5, time.Minute) }()
	wantFrame(t, peer, wire.FrameStart, 5)
	_, err := peer.Write(frame(wire.FrameAck, 5))
	require.NoError(t, err)
	return user, peer, served
}

func TestAbortIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name string
		play func(t *testing.T, user, peer net.Conn)
	}{
		{"the user goes while the client does not read", func(t *testing.T, user, peer net.Conn) {
			user.Write([]byte("stuck")) // the writer hangs in this DATA
			user.Close()
			peer.Write(frame(wire.FrameData, 5, 'x')) // cannot be delivered
		}},
		{"the client resets and does not read", func(t *testing.T, user, peer net.Conn) {
			user.Write([]byte("stuck"))
			peer.Write(frame(wire.FrameReset, 5, 1))
		}},
		{"the user resets and the client never ends", func(t *testing.T, user, peer net.Conn) {
			user.Close()
			wantFrame(t, peer, wire.FrameFin, 5) // a pipe knows no reset
			peer.Write(frame(wire.FrameData, 5, 'x'))
			wantFrame(t, peer, wire.FrameReset, 5)
		}},
		{"the client resets a half-closed stream and never writes DONE", func(t *testing.T, user, peer net.Conn) {
			user.Close()
			wantFrame(t, peer, wire.FrameFin, 5)
			synctest.Wait() // the writer is through, and does not hold the lock in a write of RESET
			peer.Write(frame(wire.FrameReset, 5, 1))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				user, peer, served := serveOnPipes(t)
				peer.SetDeadline(time.Time{})
				begun := time.Now()
				tt.play(t, user, peer)
				res := <-served
				require.False(t, res.Keep)
				require.LessOrEqual(t, time.Since(begun), 2*resetDrain)
			})
		})
	}
}

func TestDialEndsWithTheProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, conn := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		attended := make(chan Result, 1)
		go func() {
			attended <- attend(ctx, conn, Task{Number: 5, Commit: agree, StartWait: time.Minute,
				Dial: func(ctx context.Context) (net.Conn, wire.ResetReason) {
					<-ctx.Done()
					return nil, wire.ResetShutdown
				},
				Reserve: func() bool { return true },
			})
		}()
		peer.Write(frame(wire.FrameStart, 5))
		wantFrame(t, peer, wire.FrameAck, 5)
		cancel()
		require.False(t, (<-attended).Keep)
	})
}

// TestDoneWaitsForTheReader: in front of DONE may stand what the reader has not
// read yet. Only the end of the program cuts that short.
func TestDoneWaitsForTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, conn := net.Pipe()
		target, inner := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		attended := make(chan Result, 1)
		go func() {
			attended <- attend(ctx, conn, Task{Number: 5, Commit: agree, StartWait: time.Minute,
				Dial:    func(context.Context) (net.Conn, wire.ResetReason) { return inner, 0 },
				Reserve: func() bool { return true },
			})
		}()
		peer.Write(frame(wire.FrameStart, 5))
		wantFrame(t, peer, wire.FrameAck, 5)
		target.Close()
		wantFrame(t, peer, wire.FrameFin, 5)
		peer.Write(frame(wire.FrameFin, 5))
		time.Sleep(time.Hour) // nobody reads DONE
		require.Empty(t, attended)
		cancel()
		res := <-attended
		require.False(t, res.Keep)
		require.ErrorIs(t, res.Err, context.Canceled)
	})
}
