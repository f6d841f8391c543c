package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// told is what nginx says it was told of its user.
const told = `set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;
location / { return 200 "$proxy_protocol_addr:$proxy_protocol_port > $proxy_protocol_server_addr:$proxy_protocol_server_port"; }`

// introduces has one user ask what a target was told of it, and returns the user's
// address and the answer.
func introduces(t *testing.T, address string, from net.Addr) (user, answer string) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: from}
	c := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, address)
		if err == nil {
			user = c.LocalAddr().String()
		}
		return c, err
	}}}
	answer, err := get(c, "http://"+address)
	require.NoError(t, err)
	return user, answer
}

// TestProxyExample runs the commands of docs/PROXY.md with a real nginx: the
// client's with either version, and nginx's own lines.
func TestProxyExample(t *testing.T) {
	t.Parallel()
	location := inDocument(t, "PROXY.md", `(?m)^    (location / .*)$`)
	require.Contains(t, inDocument(t, "PROXY.md", `(?s)`+"```nginx\n(.*?)```"), "proxy_protocol;")
	page := startNginx(t, "proxy_protocol", location)
	_, address, key := startServer(t)
	client := newHost(t, key).start("tunnel-client", documented(t, "PROXY.md", "tunnel-client", "HOST", address, "8080:3000", "web=0:"+page.port)...)
	public := client.line(`Service "web" is up: (\S+) leads to `)[1]
	require.Equal(t, "127.0.0.1\n", fetch(t, public))
	client.stop()

	site := startNginx(t, "proxy_protocol", told)
	for _, version := range []string{"v1", "v2"} {
		for _, carriers := range []string{"0", "2"} {
			client := startClient(t, key, address, "-R", "web=0:"+site.port, "--carriers", carriers,
				"--proxy-protocol", version, "--health", "http:/")
			public := client.line(`Service "web" is up: (\S+) leads to `)[1]
			for range 3 {
				user, answer := introduces(t, public, nil)
				require.Equal(t, user+" > "+public, answer, version)
			}
			require.Zero(t, client.count("is not well"), "health checks are understood, too")
			client.stop()
		}
	}
}

// TestProxyIPv6 is the same for a user of IPv6.
func TestProxyIPv6(t *testing.T) {
	t.Parallel()
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("no IPv6 here")
	} else {
		l.Close()
	}
	site := startNginx(t, "proxy_protocol", `location / { return 200 "[$proxy_protocol_addr]:$proxy_protocol_port > [$proxy_protocol_server_addr]:$proxy_protocol_server_port"; }`)
	_, address, key := startServer(t, "--bind", "::1")
	for _, version := range []string{"v1", "v2"} {
		client := startClient(t, key, address, "-R", "web=0:"+site.port, "--proxy-protocol", version)
		public := client.line(`Service "web" is up: (\S+) leads to `)[1]
		user, answer := introduces(t, public, nil)
		require.Equal(t, user+" > "+public, answer, version)
		client.stop()
	}
}

// TestBehindBalancer runs the commands of docs/PROXY.md with a real haproxy in
// front of the server and a real nginx behind the client: the user's address
// goes all the way, and into both logs.
func TestBehindBalancer(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("a user with another address of this machine")
	}
	for _, version := range []string{"send-proxy", "send-proxy-v2"} {
		site := startNginx(t, "proxy_protocol", told)
		trust := documented(t, "PROXY.md", "tunnel-server", "10.0.0.0/8", "127.0.0.1")
		server, address, key := startServer(t, append(trust, "--log-level", "debug")...)
		public := freePort(t)
		client := startClient(t, key, address, "-R", "web="+public+":"+site.port, "--proxy-protocol", "v2")
		client.line(`Service "web" is up: `)
		line := inDocument(t, "PROXY.md", `(?m)^(server tunnel .*)$`)
		line = strings.NewReplacer("10.0.0.7:8080", "127.0.0.1:"+public, "send-proxy-v2", version).Replace(line)
		front := startBalancer(t, line)
		user, answer := introduces(t, "127.0.0.1:"+front, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)})
		require.Equal(t, user+" > 127.0.0.1:"+public, answer, version)
		require.Contains(t, user, "127.0.0.2:")
		site.accesses("127.0.0.2 - ")
		require.Zero(t, server.count("must send a header"), "its checks are understood")
		client.stop()
		server.stop()
	}
}

// startBalancer runs a haproxy with one server until the test ends, and waits until
// it serves. It returns its port.
func startBalancer(t *testing.T, server string) (port string) {
	t.Helper()
	program, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("haproxy is not installed")
	}
	port = freePort(t)
	conf := filepath.Join(t.TempDir(), "haproxy.cfg")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, `defaults
  mode tcp
  timeout connect 5s
  timeout client 20s
  timeout server 20s
listen front
  bind 127.0.0.1:%s
  %s inter 100ms
`, port, server), 0o600))
	c := exec.Command(program, "-db", "-f", conf)
	dieWithTests(c)
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			return false
		}
		c.Close()
		return true
	}, patience, time.Millisecond)
	return port
}

// TestUntrustedHeader: a server that trusts others takes nobody else's word.
func TestUntrustedHeader(t *testing.T) {
	t.Parallel()
	heard := make(chan string, 1)
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { heard <- "a request" }))
	defer target.Close()
	_, address, key := startServer(t, "--trust-proxy", "10.0.0.0/8,2001:db8::/32")
	client := startClient(t, key, address, "-R", "web=0:"+portOf(t, target.Listener.Addr().String()))
	public := client.line(`Service "web" is up: (\S+) leads to `)[1]
	c, err := net.Dial("tcp", public)
	require.NoError(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	_, err = fmt.Fprint(c, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.0\r\n\r\n")
	require.NoError(t, err)
	answer := make([]byte, len("HTTP/1.1 400"))
	_, err = c.Read(answer)
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 400", string(answer), "the header is the user's words, which are no HTTP")
	require.Empty(t, heard)
	c.Close()
	client.stop()
}
