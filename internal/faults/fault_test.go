package faults

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// nothingComes holds that c gets neither bytes nor an end for a few delays.
func nothingComes(t *testing.T, c net.Conn) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(5*oneWay)))
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
}

func passes(t *testing.T, from, to net.Conn) {
	t.Helper()
	_, err := from.Write([]byte("x"))
	require.NoError(t, err)
	_, err = io.ReadFull(to, make([]byte, 1))
	require.NoError(t, err)
}

func TestStallHoldsEverythingUp(t *testing.T) {
	near, far, link := join(t)
	link.Stall(0, 1)
	_, err := near.Write([]byte("there"))
	require.NoError(t, err)
	require.NoError(t, near.CloseWrite())
	_, err = far.Write([]byte("back"))
	require.NoError(t, err)
	nothingComes(t, far)
	nothingComes(t, near)
	link.Stall(1, 2) // another one's turn
	got, err := io.ReadAll(far)
	require.NoError(t, err)
	require.Equal(t, "there", string(got))
	got = make([]byte, 4)
	_, err = io.ReadFull(near, got)
	require.NoError(t, err)
	require.Equal(t, "back", string(got))
}

func TestStallHoldsAResetUp(t *testing.T) {
	near, far, link := join(t)
	link.Stall(0, 1)
	reset(far)
	nothingComes(t, near)
	link.Stall(0, 0)
	_, err := near.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestStallOfThoseToCome(t *testing.T) {
	near, far, link := join(t)
	link.Stall(1, 100)
	passes(t, near, far)
	second, err := link.Dial(t.Context())
	require.NoError(t, err)
	defer second.Close()
	_, err = second.Write([]byte("x"))
	require.NoError(t, err)
	nothingComes(t, second) // not even that the target is gone
	link.Close()            // a stalled connection does not hold it up
}

func TestCutResetsBothEnds(t *testing.T) {
	near, far, link := join(t)
	passes(t, near, far)
	require.Zero(t, link.Cut(1, 100))
	passes(t, far, near)
	require.Equal(t, 1, link.Cut(0, 100))
	for _, c := range []net.Conn{near, far} {
		_, err := c.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
	require.Zero(t, link.Cut(0, 100), "those that were cut are gone")
}

func TestCutOfAStalledConnection(t *testing.T) {
	near, far, link := join(t)
	passes(t, near, far)
	link.Stall(0, 1)
	_, err := near.Write([]byte("lost"))
	require.NoError(t, err)
	require.Equal(t, 1, link.Cut(0, 1))
	_, err = far.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestHangUpEndsBothInOrder(t *testing.T) {
	near, far, link := join(t)
	passes(t, near, far)
	require.Equal(t, 1, link.HangUp(0, 1))
	for _, c := range []net.Conn{near, far} {
		_, err := c.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	}
}

func TestMuteOneWay(t *testing.T) {
	near, far, link := join(t)
	link.MuteOneWay(FromTarget, 0, 1)
	passes(t, near, far)
	_, err := far.Write([]byte("lost"))
	require.NoError(t, err)
	nothingComes(t, near)
	link.Mute(0, 0)
	_, err = far.Write([]byte("behind a gap"))
	require.NoError(t, err)
	nothingComes(t, near)
	passes(t, near, far)

	link.MuteOneWay(ToTarget, 0, 1)
	_, err = near.Write([]byte("lost"))
	require.NoError(t, err)
	nothingComes(t, far)
	require.Panics(t, func() { link.MuteOneWay(bothWays, 0, 1) })
}

// TestCutOfOneThatIsNotThrough: the target refuses, and that is held up.
func TestCutOfOneThatIsNotThrough(t *testing.T) {
	_, _, link := join(t) // its target listens no more
	link.Stall(1, 2)
	second, err := link.Dial(t.Context())
	require.NoError(t, err)
	defer second.Close()
	require.Eventually(t, func() bool { return link.Carried() == 2 }, 20*time.Second, time.Millisecond)
	nothingComes(t, second)
	require.Equal(t, 1, link.Cut(1, 2))
	_, err = second.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}
