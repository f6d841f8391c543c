package faults

import (
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain fails the package when a test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const oneWay = 20 * time.Millisecond

// join returns both ends of one connection over a new link.
func join(t *testing.T) (near, far *net.TCPConn, link *Link) {
	t.Helper()
	target, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer target.Close()
	link, err = NewLink(target.Addr().String(), oneWay)
	require.NoError(t, err)
	t.Cleanup(link.Close)
	n, err := link.Dial(t.Context())
	require.NoError(t, err)
	f, err := target.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { n.Close(); f.Close() })
	for _, c := range []net.Conn{n, f} {
		require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	}
	return n.(*net.TCPConn), f.(*net.TCPConn), link
}

func TestBytesArriveWholeInOrderAndLate(t *testing.T) {
	near, far, _ := join(t)
	data := make([]byte, 16<<20) // four windows
	rand.NewChaCha8([32]byte{1}).Read(data)
	begun := time.Now()
	go func() {
		near.Write(data)
		near.CloseWrite()
	}()
	one := make([]byte, 1)
	_, err := io.ReadFull(far, one)
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(begun), oneWay-time.Millisecond)
	rest, err := io.ReadAll(far)
	require.NoError(t, err)
	require.Equal(t, sha256.Sum256(data), sha256.Sum256(append(one, rest...)))
}

func TestHalfCloseLeavesTheAnswerItsWay(t *testing.T) {
	near, far, _ := join(t)
	require.NoError(t, near.CloseWrite())
	_, err := far.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	_, err = far.Write([]byte("answer"))
	require.NoError(t, err)
	require.NoError(t, far.Close())
	answer, err := io.ReadAll(near)
	require.NoError(t, err)
	require.Equal(t, "answer", string(answer))
}

func TestResetArrivesAsReset(t *testing.T) {
	near, far, _ := join(t)
	begun := time.Now()
	reset(far)
	_, err := near.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.GreaterOrEqual(t, time.Since(begun), oneWay-time.Millisecond)
}

func TestCloseResetsBothEnds(t *testing.T) {
	near, far, link := join(t)
	_, err := near.Write([]byte("x"))
	require.NoError(t, err)
	_, err = io.ReadFull(far, make([]byte, 1)) // the link has dialed the target by now, for certain
	require.NoError(t, err)
	link.Close()
	link.Close()
	for _, c := range []net.Conn{near, far} {
		_, err := c.Read(make([]byte, 1))
		require.Error(t, err)
		require.False(t, errors.Is(err, io.EOF), "an end of file is no reset")
	}
}

func TestRefusalComesBack(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	gone.Close()
	link, err := NewLink(gone.Addr().String(), oneWay)
	require.NoError(t, err)
	defer link.Close()
	conn, err := link.Dial(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestNewLinkRefusesANegativeDelay(t *testing.T) {
	_, err := NewLink("127.0.0.1:1", -1)
	require.ErrorContains(t, err, "negative")
}

func TestMuteLosesEverythingWithoutAWord(t *testing.T) {
	near, far, link := join(t)
	require.Equal(t, 1, link.Carried())
	link.Mute(0, 1)
	_, err := near.Write([]byte("lost"))
	require.NoError(t, err)
	require.NoError(t, near.CloseWrite())
	require.NoError(t, far.SetReadDeadline(time.Now().Add(5*oneWay)))
	_, err = far.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	link.Mute(0, 0)
	_, err = far.Write([]byte("x"))
	require.NoError(t, err)
	_, err = io.ReadFull(near, make([]byte, 1))
	require.NoError(t, err, "what is sent later passes")
}
