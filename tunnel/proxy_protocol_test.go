package tunnel

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// introduced is a target that wants a header first, and answers with what is in
// it and what the user then says.
func introduced(t *testing.T) string {
	return startTarget(t, func(c *net.TCPConn) {
		in := bufio.NewReader(c)
		h, err := proxyproto.Read(in)
		if err != nil {
			fmt.Fprintf(c, "no header: %v", err)
			return
		}
		said, _ := io.ReadAll(in)
		fmt.Fprintf(c, "v%d %v > %v: %s", h.Version, h.SourceAddr, h.DestinationAddr, said)
	})
}

func withHeader(version string) func(*ClientConfig) {
	return func(cfg *ClientConfig) { cfg.Services[0].ProxyProtocol = version }
}

// speaks has one user say something, and checks who the target was told it is.
func speaks(t *testing.T, g *guest, version, from string) {
	t.Helper()
	user := g.dial(t)
	defer user.Close()
	send(t, user, "hello")
	require.NoError(t, user.CloseWrite())
	got, err := io.ReadAll(user)
	require.NoError(t, err)
	if from == "" {
		from = user.LocalAddr().String()
	}
	require.Equal(t, version+" "+from+" > "+g.public(0)+": hello", string(got))
}

// TestProxyProtocol: a target is told who its user is, in each version, every mode
// and on carriers, for users of IPv4 and IPv6; and then hears the user.
func TestProxyProtocol(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
				g := startClient(t, startServer(t, mode), introduced(t), withHeader(version))
				for range 3 { // recycled
					speaks(t, g, version, "")
				}
			})
			t.Run("carried", func(t *testing.T) {
				g := onCarriers(t, introduced(t), withHeader(version))
				speaks(t, g, version, "")
			})
			t.Run("IPv6", func(t *testing.T) {
				if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
					t.Skip("no IPv6 here")
				} else {
					l.Close()
				}
				g := startClient(t, startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Bind = "::1" }), introduced(t), withHeader(version))
				speaks(t, g, version, "")
			})
		})
	}
}

// TestProxyProtocolToTargetThatSpeaksFirst: the header does not wait for a user who
// waits for the target.
func TestProxyProtocolToTargetThatSpeaksFirst(t *testing.T) {
	target := startTarget(t, func(c *net.TCPConn) {
		if _, err := proxyproto.Read(bufio.NewReader(c)); err == nil {
			io.WriteString(c, "220 ready")
		}
	})
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		g := startClient(t, startServer(t, mode), target, withHeader("v1"))
		user := g.dial(t)
		receive(t, user, "220 ready")
	})
}

// TestHeaderOfHealthCheck speaks for nobody, and is well-formed.
func TestHeaderOfHealthCheck(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		told := make(chan bool, 100)
		target := startTarget(t, func(c *net.TCPConn) {
			c.SetDeadline(time.Now().Add(patience))
			h, err := proxyproto.Read(bufio.NewReader(c))
			select {
			case told <- err == nil && h.Command.IsLocal():
			default:
			}
		})
		startClient(t, startServer(t, pool.TLSPlain), target, withHeader(version), func(cfg *ClientConfig) { cfg.Services[0].Health = "tcp" })
		require.True(t, <-told)
	}
}

// TestHeadersAddresses: what a server says of addresses is taken for no more than
// it is.
func TestHeadersAddresses(t *testing.T) {
	server := &net.TCPAddr{IP: net.IPv4(198, 51, 100, 7), Port: 10101}
	for _, tt := range []struct{ user, at, want string }{
		{"192.0.2.1:4000", "203.0.113.5:8080", "PROXY TCP4 192.0.2.1 203.0.113.5 4000 8080\r\n"},
		{"192.0.2.1:4000", "[::]:8080", "PROXY TCP4 192.0.2.1 198.51.100.7 4000 8080\r\n"},
		{"[2001:db8::1]:4000", "[::]:8080", "PROXY TCP6 2001:db8::1 :: 4000 8080\r\n"},
		{"192.0.2.1:4000", "0.0.0.0:80 6\r\n", "PROXY TCP4 192.0.2.1 0.0.0.0 4000 0\r\n"},
		{"192.0.2.1:4000\r\nX", "[::]:8080", "PROXY UNKNOWN\r\n"},
		{"a unix socket", "[::]:8080", "PROXY UNKNOWN\r\n"},
		{"", "", "PROXY UNKNOWN\r\n"},
	} {
		c, err := NewClient(ClientConfig{Server: "h", Key: pool.NewKey(), Services: []Service{{Target: "h:1", ProxyProtocol: "v1"}}})
		require.NoError(t, err)
		if tt.at != "" {
			c.services[0].target.Load().isUpAt(tt.at, server)
		}
		require.Equal(t, tt.want, string(c.services[0].target.Load().preface(tt.user)))
	}
}

// FuzzHeader: whatever a server says, the target gets a header that is whole, and
// of no other user than the one it was told of.
func FuzzHeader(f *testing.F) {
	f.Add("192.0.2.1:4000", "[::]:8080")
	f.Add("[2001:db8::1%x\r\n]:4000", "203.0.113.5:8080")
	f.Add("\x00", "PROXY TCP4")
	f.Fuzz(func(t *testing.T, user, at string) {
		for _, version := range []string{"v1", "v2"} {
			c := new(Client)
			to := c.newTarget(Service{Target: "h:1", ProxyProtocol: version}, nil)
			to.isUpAt(at, &net.TCPAddr{IP: net.IPv6loopback, Port: 1})
			reader, writer := net.Pipe()
			go func() { // ends with the read
				writer.Write(append(to.preface(user), "words"...))
				writer.Close()
			}()
			in := bufio.NewReader(reader)
			h, err := proxyproto.Read(in)
			require.NoError(t, err)
			words, err := io.ReadAll(in)
			require.NoError(t, err)
			require.Equal(t, "words", string(words))
			if from, err := netip.ParseAddrPort(user); err == nil {
				source, ok := h.SourceAddr.(*net.TCPAddr)
				require.True(t, ok)
				require.Equal(t, from.Addr().Unmap().WithZone(""), source.AddrPort().Addr().Unmap())
				require.Equal(t, from.Port(), source.AddrPort().Port())
			} else {
				require.True(t, h.Command.IsLocal())
			}
		}
	})
}
