package datagram

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func dial(t *testing.T, address string) (*Conn, *recorder) {
	t.Helper()
	r := new(recorder)
	c, err := Dial(t.Context(), address, Config{Idle: time.Minute, Dropped: r.dropped})
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c, r
}

func TestDial(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		target, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Logf("no %s here: %v", host, err)
			continue
		}
		defer target.Close()
		c, _ := dial(t, target.LocalAddr().String())
		c.Write(stream("one", "two"))
		b := make([]byte, 100)
		for _, want := range []string{"one", "two"} {
			n, from, err := target.ReadFrom(b)
			require.NoError(t, err)
			require.Equal(t, want, string(b[:n]))
			target.WriteTo([]byte("answer"), from)
			require.Equal(t, string(stream("answer")), read(t, c))
		}
	}
	_, err := Dial(t.Context(), "no-such-host.invalid:1", Config{Idle: time.Minute})
	require.Error(t, err)
}

// TestLocalhost: what listens on IPv4 only is reached by a name that has both.
func TestLocalhost(t *testing.T) {
	target, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer target.Close()
	_, port, err := net.SplitHostPort(target.LocalAddr().String())
	require.NoError(t, err)
	c, _ := dial(t, "localhost:"+port)
	require.Equal(t, target.LocalAddr().String(), c.RemoteAddr().String())

	for _, name := range []string{"ip6-localhost", "localhost6"} { // where there is one with IPv6 only
		if ips, err := net.LookupIP(name); err == nil && len(ips) == 1 && ips[0].Equal(net.IPv6loopback) {
			c, _ := dial(t, name+":"+port)
			require.Equal(t, "[::1]:"+port, c.RemoteAddr().String())
		}
	}
}

// TestRefusals: a target that is down does not end the flow, and is reached by the
// first datagram after it has come up.
func TestRefusals(t *testing.T) {
	target, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	address := target.LocalAddr().String()
	target.Close()
	c, r := dial(t, address)
	refusals := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, why := range r.lost {
			require.ErrorIs(t, why, syscall.ECONNREFUSED)
		}
		return len(r.lost)
	}
	for limit := time.Now().Add(patience); refusals() == 0; time.Sleep(time.Millisecond) {
		_, err := c.Write(stream("down"))
		require.NoError(t, err)
		require.True(t, time.Now().Before(limit))
	}
	target, err = net.ListenPacket("udp", address)
	require.NoError(t, err)
	defer target.Close()
	c.Write(stream("up"))
	target.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 100)
	n, _, err := target.ReadFrom(b)
	require.NoError(t, err)
	require.Equal(t, "up", string(b[:n]))
}
