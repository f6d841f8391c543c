package tunnel

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
)

// another is an address of this machine beside 127.0.0.1.
const another = "127.0.0.2"

// dialFrom connects as a user with another address.
func dialFrom(t *testing.T, from, to string) net.Conn {
	t.Helper()
	c, err := tryFrom(t, from, to)
	require.NoError(t, err)
	return c
}

func tryFrom(t *testing.T, from, to string) (net.Conn, error) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	c, err := d.Dial("tcp", to)
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Skipf("this system has no address %s of its own", from)
	}
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c, nil
}

// turnedBack wants a user to be reset at accept, if not while it connects.
func turnedBack(t *testing.T, from, to string) {
	t.Helper()
	c, err := tryFrom(t, from, to)
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func wasReset(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func prefixes(t *testing.T, texts ...string) (all []netip.Prefix) {
	t.Helper()
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		require.NoError(t, err)
		all = append(all, p)
	}
	return all
}

// TestUsersFromElsewhere: who comes from other prefixes is reset and counted,
// others are served; and a client that comes back with other prefixes has them
// from then on.
func TestUsersFromElsewhere(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Bind = "" })
	target := startTarget(t, echo)
	identity := [16]byte{1}
	allow := func(texts ...string) func(*ClientConfig) {
		return func(cfg *ClientConfig) {
			cfg.Identity = identity
			cfg.Services[0].Bind, cfg.Services[0].AllowFrom = "127.0.0.1", prefixes(t, texts...)
		}
	}
	first := startClient(t, h, target, allow("127.0.0.1/32", "2001:db8::/32"))
	works(t, first)
	first.stop()
	<-first.done

	second := startClient(t, h, target, allow("::ffff:127.0.0.2/128"))
	user := dialFrom(t, another, second.public(0))
	send(t, user, "hello")
	receive(t, user, "hello")
	turnedBack(t, "127.0.0.1", second.public(0))
	require.Equal(t, uint64(1), h.Stats().Elsewhere)
	h.log.find(t, " on "+second.public(0)+" is reset: the client lets in users of other prefixes only; see its --allow-from")
	turnedBack(t, "127.0.0.1", second.public(0))
	require.Equal(t, uint64(2), h.Stats().Elsewhere)
	require.Equal(t, 1, h.log.count("lets in users of other prefixes"), "the log is spared")
	require.Equal(t, uint64(2), h.Stats().Streams, "no stream for who may not come")
}

// TestNewSourcesOfAService: a port that is held open for a client that was lost
// lets in by the prefixes of the one that has come back, on a socket for IPv6
// and IPv4 too.
func TestNewSourcesOfAService(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Bind = "" })
	port := freePort(t)
	public := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))
	register := func(sources string) {
		conn, _ := h.joinAs(t, h.key, wire.Join{Identity: [16]byte{1}, Name: "guest"})
		say(t, conn, wire.Register{Ref: 1, Network: wire.NetworkTCP, Port: port, Name: "web", Sources: sources})
		require.Equal(t, wire.OK, answers[wire.Registered](t, conn, 1)[0].Code)
		conn.Close()
		eventually(t, func() bool { return h.Stats().Sessions == 0 }, h.log.text)
	}
	register("10.0.0.0/8")
	turnedBack(t, "127.0.0.1", public)
	register("")
	held := dialFrom(t, "127.0.0.1", public)
	eventually(t, func() bool { return h.Stats().Open == 1 }, h.log.text)
	register("127.0.0.0/8")
	dialFrom(t, "127.0.0.1", public)
	eventually(t, func() bool { return h.Stats().Open == 2 }, h.log.text)
	require.Equal(t, uint64(1), h.Stats().Elsewhere)
	held.Close()
}

// TestMalformedSources: a client's prefixes are obeyed or denied.
func TestMalformedSources(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	conn, _ := h.join(t, h.key, "guest")
	bad := []string{"example.com", "10.0.0.0/33", ",", strings.Repeat("1.1.1.1,", 31), "10.1.2.3/8", "fe80::1%lo"}
	for ref, sources := range bad {
		say(t, conn, wire.Register{Ref: uint16(ref), Network: wire.NetworkTCP, Name: "web", Sources: sources})
	}
	for _, r := range answers[wire.Registered](t, conn, len(bad)) {
		require.Equal(t, wire.BadRequest, r.Code, r.Text)
		require.Contains(t, r.Text, "the prefixes of users: ")
	}
	for _, service := range h.Stats().Services {
		require.False(t, service.Up)
		require.Contains(t, service.Reason, "denied: the prefixes of users: ")
	}
	h.log.clean(t)
}

// TestClientsFromElsewhere: the tunnel's own port is closed to those outside of
// its prefixes before TLS, in every mode.
func TestClientsFromElsewhere(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		h := startServer(t, mode, func(cfg *ServerConfig) { cfg.AllowFrom = prefixes(t, another+"/32") })
		cfg := h.clientConfig(startTarget(t, echo))
		runClient(t, cfg)
		h.log.find(t, `(address): "only the configured addresses may connect"`)
		require.NotZero(t, h.Stats().Door.Rejected[pool.RejectAddress])

		cfg.Dial = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(another)}}).DialContext
		dialFrom(t, another, h.addr()).Close() // or skips
		works(t, runClient(t, cfg).up(t))
	})
}
