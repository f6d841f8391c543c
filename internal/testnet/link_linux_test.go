package testnet

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience bounds every wait of a test; only a failure lasts that long.
const patience = 20 * time.Second

const oneWay = 20 * time.Millisecond

// newLink makes a link until the test ends, with an echo on port 7 of B.
func newLink(t *testing.T) *Link {
	t.Helper()
	if err := Available(); err != nil {
		t.Skip(err)
	}
	l, err := New(oneWay)
	require.NoError(t, err)
	t.Cleanup(l.Close)
	echo, err := l.B.Listen(l.B.Addr() + ":7")
	require.NoError(t, err)
	t.Cleanup(func() { echo.Close() })
	go func() { // ends with the listener
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go io.Copy(c, c) // ends with the test
		}
	}()
	return l
}

func dialEcho(t *testing.T, l *Link) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := l.A.Dial(ctx, l.B.Addr()+":7")
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// roundTrip sends a byte there and back.
func roundTrip(t *testing.T, c net.Conn) time.Duration {
	t.Helper()
	begun := time.Now()
	_, err := c.Write([]byte{1})
	require.NoError(t, err)
	_, err = io.ReadFull(c, make([]byte, 1))
	require.NoError(t, err)
	return time.Since(begun)
}

func TestLinkDelay(t *testing.T) {
	l := newLink(t)
	begun := time.Now()
	c := dialEcho(t, l)
	connected := time.Since(begun)
	require.GreaterOrEqual(t, connected, 2*oneWay)
	took := roundTrip(t, c)
	require.GreaterOrEqual(t, took, 2*oneWay)
	t.Logf("two ways of %v: connected after %v, a byte and its echo after %v", oneWay, connected, took)
	l.SetDelay(2 * oneWay)
	require.GreaterOrEqual(t, roundTrip(t, c), 4*oneWay)
	ab, ba := l.Stats()
	require.Positive(t, ab.Carried)
	require.Positive(t, ba.Carried)
	require.Zero(t, ab.Lost+ba.Lost)
}

// Many bytes arrive as they were, whole and with lost packets.
func TestLinkCarriesBytes(t *testing.T) {
	l := newLink(t)
	for _, loss := range []float64{0, 0.01} {
		require.NoError(t, l.SetLoss(loss))
		l.SetDelay(time.Millisecond)
		sent := make([]byte, 1<<20)
		rand.Read(sent)
		c := dialEcho(t, l)
		go c.Write(sent) // ends with the test at the latest
		got := make([]byte, len(sent))
		begun := time.Now()
		_, err := io.ReadFull(c, got)
		require.NoError(t, err)
		require.True(t, bytes.Equal(sent, got))
		t.Logf("1 MiB there and back in %v with a loss of %v", time.Since(begun), loss)
	}
	ab, ba := l.Stats()
	require.Positive(t, ab.Lost+ba.Lost)
	require.Error(t, l.SetLoss(1.5))
}

func TestLinkDrop(t *testing.T) {
	for name, d := range map[string]Direction{"both": Both, "there": AToB, "back": BToA} {
		t.Run(name, func(t *testing.T) {
			l := newLink(t)
			c := dialEcho(t, l)
			roundTrip(t, c)
			l.Drop(d)
			_, err := c.Write([]byte{1})
			require.NoError(t, err, "nobody is told")
			c.SetReadDeadline(time.Now().Add(4 * oneWay))
			_, err = c.Read(make([]byte, 1))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			l.Drop(None)
			c.SetReadDeadline(time.Now().Add(patience))
			_, err = io.ReadFull(c, make([]byte, 1)) // TCP sends it again
			require.NoError(t, err)
		})
	}
}

func TestFilter(t *testing.T) {
	l := newLink(t)
	dead, alive := dialEcho(t, l), dialEcho(t, l)
	_, port, err := net.SplitHostPort(dead.LocalAddr().String())
	require.NoError(t, err)
	require.NoError(t, l.B.Filter("tcp sport "+port+" drop"))
	_, err = dead.Write([]byte{1})
	require.NoError(t, err)
	roundTrip(t, alive)
	dead.SetReadDeadline(time.Now().Add(4 * oneWay))
	_, err = dead.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, l.B.Filter())
	dead.SetReadDeadline(time.Now().Add(patience))
	_, err = io.ReadFull(dead, make([]byte, 1))
	require.NoError(t, err)
	require.ErrorContains(t, l.B.Filter("no such rule"), "syntax error")
}

// A namespace sees its own loopback and its end of the link, and programs that
// are started in it see the same.
func TestNamespaceIsItsOwn(t *testing.T) {
	l := newLink(t)
	outside, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer outside.Close()
	_, err = l.A.Dial(t.Context(), outside.Addr().String())
	require.Error(t, err, "another machine's loopback")
	_, err = net.DialTimeout("tcp", l.B.Addr()+":7", 10*oneWay)
	require.Error(t, err, "not from here")

	var names []string
	require.NoError(t, l.A.Do(func() error {
		all, err := net.Interfaces()
		for _, i := range all {
			names = append(names, i.Name)
		}
		return err
	}))
	require.ElementsMatch(t, []string{"lo", device}, names)

	c := exec.Command("cat", "/proc/net/dev")
	var out bytes.Buffer
	c.Stdout = &out
	require.NoError(t, l.A.Start(c))
	require.NoError(t, c.Wait())
	require.Contains(t, out.String(), device+":")
	here, err := net.Interfaces()
	require.NoError(t, err)
	require.False(t, slices.ContainsFunc(here, func(i net.Interface) bool { return i.Name == device }))
}

func TestNegativeDelay(t *testing.T) {
	_, err := New(-1)
	require.ErrorContains(t, err, "negative")
}
