package datagram

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const patience = 10 * time.Second

func listen(t *testing.T, address string, maxFlows int) (*Listener, *recorder) {
	t.Helper()
	r := new(recorder)
	l, err := Listen(address, maxFlows, Config{Idle: time.Minute, Dropped: r.dropped})
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l, r
}

func user(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", address)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

func read(t *testing.T, c net.Conn) string {
	t.Helper()
	b := make([]byte, 1<<16)
	n, err := c.Read(b)
	require.NoError(t, err)
	return string(b[:n])
}

func accept(t *testing.T, l *Listener) net.Conn {
	t.Helper()
	c, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestListener(t *testing.T) {
	l, _ := listen(t, "127.0.0.1:0", 10)
	one, two := user(t, l.Addr().String()), user(t, l.Addr().String())
	fmt.Fprint(one, "from one")
	first := accept(t, l)
	fmt.Fprint(two, "from two")
	second := accept(t, l)
	require.Equal(t, one.LocalAddr().String(), first.RemoteAddr().String())
	require.Equal(t, l.Addr(), first.LocalAddr())
	require.Equal(t, string(stream("from one")), read(t, first))
	require.Equal(t, string(stream("from two")), read(t, second))
	first.Write(stream("to", "one"))
	require.Equal(t, "to", read(t, one))
	require.Equal(t, "one", read(t, one))

	first.(*Conn).CloseWrite()
	fmt.Fprint(one, "again")
	third := accept(t, l)
	require.Equal(t, string(stream("again")), read(t, third), "another flow of the same address")
	first.Write(stream("late"))
	require.Equal(t, "late", read(t, one))
	first.Close()
	fmt.Fprint(one, "and again")
	require.Equal(t, string(stream("and again")), read(t, third), "the end of the former one is not that of the next")

	l.Close()
	_, err := third.Read(make([]byte, 1))
	require.Error(t, err, "the flows end with the port")
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	again, _ := listen(t, l.Addr().String(), 10)
	require.Equal(t, l.Addr(), again.Addr(), "the port is free")
}

// table is a listener without a reader, for tests with a clock of their own.
func table(t *testing.T, maxFlows int) (*Listener, *recorder) {
	t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	r := new(recorder)
	return newListener(socket, maxFlows, Config{Idle: time.Hour, Dropped: r.dropped}), r
}

func from(n int) caller {
	return caller{user: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 2, byte(n)}), 4000)}
}

// TestFull: as many flows as there may be keep others out, as long as they are not
// silent.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := table(t, 10)
		defer l.Close()
		var conns []net.Conn
		for n := range 10 {
			l.deliver(from(n), []byte("in"))
			conns = append(conns, <-l.backlog)
		}
		l.deliver(from(10), []byte("in"))
		require.Equal(t, []error{ErrTooMany}, r.lost)
		require.Empty(t, l.backlog)

		time.Sleep(4 * time.Second)
		l.deliver(from(0), []byte("in"))
		conns[1].Write(stream("out"))
		time.Sleep(silentFull - 4*time.Second)
		l.deliver(from(10), []byte("in"))
		require.Len(t, r.lost, 1)
		require.Len(t, l.backlog, 1)
		require.Len(t, l.flows, 3, "those not silent, and the new one")
		for n := range 10 {
			l.deliver(from(n), []byte("in"))
		}
		require.Len(t, r.lost, 2, "there is room for all but one")
		for _, c := range conns {
			c.Close()
		}
	})
}

// TestBrokenOff: an address whose flow was broken off begins no other for a while.
func TestBrokenOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := table(t, 10)
		defer l.Close()
		for range 3 {
			l.deliver(from(1), []byte("in"))
			(<-l.backlog).Close()
			for range 9 {
				time.Sleep(100 * time.Millisecond)
				l.deliver(from(1), []byte("in"))
				require.Empty(t, l.backlog)
			}
			time.Sleep(101 * time.Millisecond)
		}
		l.deliver(from(1), []byte("in"))
		c := <-l.backlog
		time.Sleep(time.Minute)
		c.Close()
		l.deliver(from(1), []byte("in"))
		require.Len(t, l.backlog, 1, "one that lasted is followed at once")
		l.Close()
		time.Sleep(time.Minute)
	})
}

func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := table(t, 1000)
		for n := range maxBacklog + 10 {
			l.deliver(from(n), []byte("in"))
		}
		require.Len(t, r.lost, 10)
		require.Len(t, l.flows, maxBacklog, "who was not let in may try again")
		l.Close()
		require.Empty(t, l.backlog)
		time.Sleep(time.Minute)
	})
}

// TestAnswersFromTheAddressAsked: a user hears from the address that it asked,
// whichever the host would choose.
func TestAnswersFromTheAddressAsked(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux is asked for the address that a datagram came to")
	}
	for _, at := range []struct{ bind, asked string }{
		{"0.0.0.0:0", "127.0.0.2"}, {"[::]:0", "127.0.0.3"}, {"[::]:0", "::1"}, {":0", "127.0.0.4"},
	} {
		t.Run(at.bind+" "+at.asked, func(t *testing.T) {
			l, _ := listen(t, at.bind, 10)
			_, port, err := net.SplitHostPort(l.Addr().String())
			require.NoError(t, err)
			c := user(t, net.JoinHostPort(at.asked, port))
			fmt.Fprint(c, "in")
			f := accept(t, l)
			require.Equal(t, c.LocalAddr().String(), f.RemoteAddr().String())
			f.Write(stream("out"))
			require.Equal(t, "out", read(t, c), "the user's socket takes it from there only")
		})
	}
}
