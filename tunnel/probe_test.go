package tunnel

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// probed runs a Probe to its end and returns its steps, each as a line.
func probed(t testing.TB, cfg ClientConfig) (lines string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var b strings.Builder
	err = Probe(ctx, cfg, func(s ProbeStep) {
		writeStep(&b, s)
		require.Equal(t, s.State == ProbeFailed, s.Err != nil && s.State != ProbeWarning, "%+v", s)
	})
	require.Equal(t, strings.Contains(b.String(), "failed "), err != nil, "%v\n%s", err, &b)
	require.NotContains(t, b.String(), cfg.Key.Text())
	return b.String(), err
}

func writeStep(b *strings.Builder, s ProbeStep) {
	fmt.Fprintf(b, "%s %s: %s", s.State, s.Name, s.Detail)
	if s.Remedy != "" {
		fmt.Fprintf(b, " -> %s", s.Remedy)
	}
	b.WriteString("\n")
}

// requireLines wants lines that match patterns, in order and no others.
func requireLines(t testing.TB, lines string, patterns ...string) {
	t.Helper()
	got := strings.Split(strings.TrimSpace(lines), "\n")
	require.Len(t, got, len(patterns), "%s", lines)
	for i, pattern := range patterns {
		require.Regexp(t, "^"+pattern+"$", got[i])
	}
}

func TestProbeAllWell(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		h := startServer(t, mode, func(cfg *ServerConfig) { cfg.AllowForward = "db:5432" })
		target := startTarget(t, echo)
		cfg := h.clientConfig(target + "," + target)
		cfg.Services = append(cfg.Services, Service{Name: "dns", Network: "udp", Port: freePort(t), Target: "127.0.0.1:53"})
		cfg.Forwards = []Forward{{Name: "db", Listen: "127.0.0.1:0", Target: "db:5432"}}
		lines, err := probed(t, cfg)
		require.NoError(t, err)
		requireLines(t, lines,
			`ok configuration: 2 services and 1 forward, server 127\.0\.0\.1:\d+, TLS mode `+string(mode),
			`ok key: `+h.key.ID().String(),
			`ok name: 127\.0\.0\.1 is an address already`,
			`ok connect: connected to 127\.0\.0\.1:\d+`,
			map[pool.TLSMode]string{
				pool.TLSPlain:      `ok tls: off, mode 0: what passes can be read and changed on the way`,
				pool.TLSSelfSigned: `ok tls: not verified, mode 1; the key binds it; CN=localhost, self-signed, until 20\d\d-\d\d-\d\d, SHA-256 [0-9a-f]{64}`,
				pool.TLSVerified: `warning tls: verified, mode 2; without a name, issued by without a name, until 20\d\d-\d\d-\d\d, SHA-256 [0-9a-f]{64}` +
					` -> it ends in less than a day, on 20\d\d-\d\d-\d\d: renew it on the server`,
			}[mode],
			`ok proof: both ends hold the key`,
			`ok session: heartbeat 5s, up to 1024 idle connections, 256 services`,
			`ok round_trip: median of 5 pings; the longest took \d+\.\d\d ms`,
			`ok pooled: dialed, proven and known by its ID`,
			`ok service: web: a port of the server's choice is allowed`,
			`ok target: web: `+target+` accepts connections`,
			`ok target: web: `+target+` accepts connections`,
			`ok service: dns: udp/port \d+ is allowed and free`,
			`ok target: dns: 127\.0\.0\.1:53 is a valid address; whether it answers over UDP only users can tell`,
			`ok forward: db: users may reach db:5432 at the server`,
			`ok listen: db: 127\.0\.0\.1:0 is free here`)
		h.log.find(t, `"guest (check)" is stopping: "the check is over"`)
		eventually(t, func() bool { return h.Stats().Sessions == 0 }, func() string { return "the session is still there" })
		require.Empty(t, h.Stats().Services)
	})
}

func TestProbeConfiguration(t *testing.T) {
	lines, err := probed(t, ClientConfig{Server: "a:b:c", Key: pool.NewKey(), Services: []Service{{Target: "x:1"}}})
	var field *ConfigError
	require.ErrorAs(t, err, &field)
	require.Equal(t, "Server", field.Field)
	require.Equal(t, "failed configuration: tunnel: Server: \"a:b:c\" is not HOST or HOST:PORT\n", lines)
}

// TestProbePath: what keeps a client from the server, each caused for real. The
// steps behind it are skipped, and those that do not need the server are not.
func TestProbePath(t *testing.T) {
	t.Parallel()
	selfSigned, plain := startServer(t, pool.TLSSelfSigned), startServer(t, pool.TLSPlain)
	issued := func(change func(*x509.Certificate)) (*host, *x509.CertPool) {
		cert, roots := issueCertificate(t, change)
		return startServer(t, pool.TLSVerified, func(cfg *ServerConfig) { cfg.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}} }), roots
	}
	verified, verifiedRoots := issued(func(*x509.Certificate) {})
	expired, expiredRoots := issued(func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	})
	soon, soonRoots := issued(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(10*24*time.Hour + time.Hour) })
	_, roots := authority()
	demanding := startServer(t, pool.TLSVerified, func(cfg *ServerConfig) {
		cfg.TLSConfig.ClientAuth, cfg.TLSConfig.ClientCAs = tls.RequireAndVerifyClientCert, roots
	})
	elsewhere := startServer(t, pool.TLSSelfSigned, func(cfg *ServerConfig) { cfg.AllowFrom = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	full := startServer(t, pool.TLSSelfSigned, func(cfg *ServerConfig) { cfg.MaxSessions = 1 })
	startClient(t, full, startTarget(t, echo))
	web := startTarget(t, func(c *net.TCPConn) {
		c.Read(make([]byte, 1))
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
	})
	silent := startTarget(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	mute := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	target := startTarget(t, echo)

	for what, c := range map[string]struct {
		host   *host
		change func(*ClientConfig)
		want   string // the step that fails
		after  []string
	}{
		"name not found": {selfSigned, func(cfg *ClientConfig) { cfg.Server = "nosuch.invalid" },
			`failed name: Name "nosuch.invalid" (not found -> check the server's name|could not be looked up .* -> check this machine's DNS)`,
			[]string{"connect", "tls", "proof", "session", "round_trip", "pooled", "service"}},
		"port closed": {selfSigned, func(cfg *ClientConfig) { cfg.Server = mute },
			`failed connect: ` + mute + ` refused the connection -> is tunnel-server running there, on that port\?`,
			[]string{"tls", "proof", "session", "round_trip", "pooled", "service"}},
		"plain server": {plain, func(cfg *ClientConfig) { cfg.TLS = pool.TLSSelfSigned },
			`failed tls: .*: the two sides use different TLS modes: .*plain TCP.* -> start both with the same --tls`, nil},
		"plain server, verifying client": {plain, func(cfg *ClientConfig) { cfg.TLS = pool.TLSVerified },
			`failed tls: .*: the two sides use different TLS modes: .*plain TCP.* -> start both with the same --tls`, nil},
		"plain client": {selfSigned, func(cfg *ClientConfig) { cfg.TLS = pool.TLSPlain },
			`failed tls: .*: the two sides use different TLS modes: .* -> start both with the same --tls`, nil},
		"verifying client, self-signed server": {selfSigned, func(cfg *ClientConfig) { cfg.TLS, cfg.ServerName = pool.TLSVerified, "localhost" },
			`failed tls: The certificate of 127\.0\.0\.1 is not trusted: .*; shown was CN=localhost, self-signed, until .*, SHA-256 [0-9a-f]{64}, valid from .* -> give it with --tls-ca; it is self-signed: does the server run with another --tls\?`, nil},
		"certificate not trusted": {verified, func(cfg *ClientConfig) { cfg.TLSConfig = nil },
			`failed tls: The certificate of 127\.0\.0\.1 is not trusted: its issuer is unknown here; shown was CN=tunnel\.test, issued by CN=Test CA, until .* -> give it with --tls-ca`, nil},
		"certificate for another name": {verified, func(cfg *ClientConfig) {
			cfg.TLSConfig, cfg.ServerName = &tls.Config{RootCAs: verifiedRoots}, "other.test"
		},
			`failed tls: The server's certificate is not for "other.test" \(.*\); shown was .* -> check --server, or give the certificate's name with --tls-name`, nil},
		"certificate expired": {expired, func(cfg *ClientConfig) { cfg.TLSConfig = &tls.Config{RootCAs: expiredRoots} },
			`failed tls: The certificate of 127\.0\.0\.1 is expired or not valid yet; shown was .*, until 20.* -> renew it, and check both clocks`, nil},
		"client certificate demanded": {demanding, func(*ClientConfig) {},
			`failed tls: .*: client certificate refused: the server wants one, and there is none .* -> give one that the server's operator issued with --tls-cert and --tls-key`, nil},
		"wrong key": {selfSigned, func(cfg *ClientConfig) { cfg.Key = pool.NewKey() },
			`failed proof: 127\.0\.0\.1:\d+ refused the key -> use the one that 'tunnel-server key show' prints there, or ask its operator whether yours was revoked`,
			[]string{"session", "round_trip", "pooled", "service"}},
		"wrong key, plain": {plain, func(cfg *ClientConfig) { cfg.Key = pool.NewKey() },
			`failed proof: 127\.0\.0\.1:\d+ refused the key -> .*`, []string{"session", "round_trip", "pooled", "service"}},
		"no place for another client": {full, func(*ClientConfig) {},
			`failed session: the server denied the session: the server has 1 clients, which is its limit -> a client that is connected already stays; ask .*`,
			[]string{"round_trip", "pooled", "service"}},
		"from elsewhere": {elsewhere, func(*ClientConfig) {},
			`failed tls: Cannot join 127\.0\.0\.1:\d+: .* -> does the server's --allow-from let this network in, and is a tunnel-server there\? Its log says more`, nil},
		"another program": {selfSigned, func(cfg *ClientConfig) { cfg.Server = web },
			`failed tls: ` + web + ` is no tunnel-server: what answers there speaks another protocol -> check the server's port`, nil},
		"certificate ends soon": {soon, func(cfg *ClientConfig) { cfg.TLSConfig = &tls.Config{RootCAs: soonRoots} },
			`warning tls: verified, mode 2; .* -> it ends in 10 days, on 20\S+: renew it on the server`, []string{}},
		"a server that says nothing": {selfSigned, func(cfg *ClientConfig) { cfg.Server = silent },
			`failed tls: No answer from ` + silent + ` in time -> does its firewall let the port in, and does a tunnel-server listen there\?`, nil},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			cfg := c.host.clientConfig(target)
			c.change(&cfg)
			lines, err := probed(t, cfg)
			require.Regexp(t, `(?m)^`+c.want+`$`, lines)
			if c.after == nil {
				c.after = []string{"proof", "session", "round_trip", "pooled", "service"}
			}
			require.Equal(t, len(c.after), strings.Count(lines, "\nskipped "), "%s", lines)
			for _, step := range c.after {
				require.Regexp(t, `(?m)^skipped `+step+`: not tried, since "\w+" failed$`, lines)
			}
			require.Contains(t, lines, "ok target: web: "+target+" accepts connections\n")
			if len(c.after) > 0 {
				require.Equal(t, 1, strings.Count(lines, "failed "), "%s", lines)
				require.Error(t, err)
			}
		})
	}
}

// TestProbeServices: what keeps a service or a forward from coming up.
func TestProbeServices(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	takenPort := portOfAddr(taken.Addr())
	held, theirs, free, forbidden := freePort(t), freePort(t), freePort(t), freePort(t)
	mine, others := pool.NewKey(), pool.NewKey()
	ring, err := NewKeyring(
		Grant{Name: "mine", Key: mine, Ports: fmt.Sprintf("%d,%d,%d,%d", takenPort, held, theirs, free)},
		Grant{Name: "others", Key: others})
	require.NoError(t, err)
	h := startServer(t, pool.TLSSelfSigned, func(cfg *ServerConfig) {
		cfg.Keys, cfg.Keyring, cfg.AllowForward = nil, ring, "db:5432"
	})
	h.key = mine
	target := startTarget(t, echo)
	startClient(t, h, target, func(cfg *ClientConfig) { cfg.Name, cfg.Services[0].Port = "the holder", held })
	startClient(t, h, target, func(cfg *ClientConfig) { cfg.Key, cfg.Services[0].Port = others, theirs })
	down := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	ill := startTarget(t, func(c *net.TCPConn) {
		c.Read(make([]byte, 1))
		io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
	})

	for what, c := range map[string]struct {
		service Service
		want    []string
	}{
		"well": {Service{Port: free}, []string{`ok service: web: port \d+ is allowed and free`}},
		"not among the server's": {Service{Port: 81},
			[]string{`failed service: web: port 81 is not among those of the server's --allow-ports \(1024-65535\) -> choose another port`}},
		"not among the key's": {Service{Port: forbidden},
			[]string{`failed service: web: port \d+ is not among those .*|failed service: web: key "?mine"? \(?.*may publish .* only; the server's operator can change that: tunnel-server key --help -> choose another port`}},
		"the tunnel's own": {Service{Port: portOfAddr(h.Addr())},
			[]string{`failed service: web: port \d+ is the tunnel's own -> choose another port`}},
		"taken by a program": {Service{Port: takenPort},
			[]string{`failed service: web: port \d+ is in use by another program on the server -> choose another port, or 0 for any`}},
		"held by a client": {Service{Port: held},
			[]string{`failed service: web: port \d+ is held by client "the holder" -> choose another port, or 0 for any; if it is this very client that has it, check with its --state-dir`}},
		"held by a client with another key": {Service{Port: theirs},
			[]string{`failed service: web: port \d+ is held by a client with another key -> choose another port, or 0 for any; .*`}},
		"bind address not offered": {Service{Port: free, Bind: "127.0.0.2"},
			[]string{`failed service: web: the server binds public ports to 127\.0\.0\.1 only -> leave the bind address out, or use one of the server's`}},
		"target down": {Service{Port: free, Target: down},
			[]string{`ok service: .*`, `failed target: web: target ` + down + ` refused the connection -> is it running\?`}},
		"target's name not found": {Service{Port: free, Target: "nosuch.invalid:80"},
			[]string{`failed target: web: target nosuch\.invalid:80: its name was not found -> check the target's address, .*`}},
		"no such socket": {Service{Port: free, Target: "unix:" + filepath.Join(t.TempDir(), "none")},
			[]string{`failed target: web: target unix:.* cannot be reached: .*no such file or directory -> .*`}},
		"one target of two down": {Service{Port: free, Target: target + "," + down},
			[]string{`ok target: web: ` + target + ` accepts connections`, `warning target: web: target ` + down + ` refused the connection -> is it running\?`}},
		"target ill": {Service{Port: free, Target: ill, Health: "http:/healthz"},
			[]string{`ok target: .*`, `failed health: web: target ` + ill + ` is not well: GET /healthz is answered with status 503 -> see what is wrong with it, or with the --health of the service`}},
		"target well": {Service{Port: free, Target: target, Health: "tcp"},
			[]string{`ok health: web: ` + target + ` is well, says --health tcp`}},
	} {
		t.Run(what, func(t *testing.T) {
			cfg := h.clientConfig(target)
			cfg.Services = []Service{c.service}
			cfg.Services[0].Name = "web"
			setDefault(&cfg.Services[0].Target, target)
			lines, _ := probed(t, cfg)
			for _, want := range c.want {
				require.Regexp(t, `(?m)^`+want+`$`, lines)
			}
			wrong := regexp.MustCompile(`(?m)^(failed|skipped|warning) `).FindAllString(lines, -1)
			require.Len(t, wrong, len(regexp.MustCompile(`(?m)^(failed|warning) `).FindAllString(strings.Join(c.want, "\n"), 1)), "%s", lines)
		})
	}

	t.Run("forwards", func(t *testing.T) {
		cfg := h.clientConfig(target)
		cfg.Services = nil
		cfg.Forwards = []Forward{
			{Name: "a", Listen: "127.0.0.1:0", Target: "db:5432"},
			{Name: "b", Listen: taken.Addr().String(), Target: "db:22"},
		}
		lines, err := probed(t, cfg)
		var no *refusal
		require.ErrorAs(t, err, &no)
		require.Regexp(t, `(?m)^ok forward: a: users may reach db:5432 at the server$`, lines)
		require.Regexp(t, `(?m)^failed forward: b: forwards to "db:22" are not allowed; the server's operator can allow it with --allow-forward -> ask the server's operator, or leave the forward out$`, lines)
		require.Regexp(t, `(?m)^failed listen: b: .*address already in use -> another program has it: stop that one, or choose another port$`, lines)
	})
}

// TestProbeNames: names that are not found are told from a DNS that does not answer,
// and of several addresses those that do not answer are warned of.
func TestProbeNames(t *testing.T) {
	h := startServer(t, pool.TLSSelfSigned)
	cfg := h.clientConfig(startTarget(t, echo))
	_, port, err := net.SplitHostPort(h.addr())
	require.NoError(t, err)
	cfg.Server = "tunnel.example:" + port
	with := func(addresses []net.IPAddr, failure error) (string, error) {
		var b strings.Builder
		p := &probe{ctx: t.Context(), report: func(s ProbeStep) { writeStep(&b, s) },
			lookup: func(_ context.Context, host string) ([]net.IPAddr, error) {
				require.Equal(t, "tunnel.example", host)
				return addresses, failure
			}}
		err := p.client(cfg)
		return b.String(), err
	}
	here, elsewhere := net.IPAddr{IP: net.IPv4(127, 0, 0, 1)}, net.IPAddr{IP: net.IPv4(127, 0, 0, 9)}

	lines, err := with(nil, &net.DNSError{Err: "no such host", IsNotFound: true})
	require.Error(t, err)
	require.Contains(t, lines, "failed name: Name \"tunnel.example\" not found -> check the server's name\n")
	lines, err = with(nil, &net.DNSError{Err: "i/o timeout", IsTimeout: true})
	require.Error(t, err)
	require.Contains(t, lines, "failed name: Name \"tunnel.example\" could not be looked up (i/o timeout) -> check this machine's DNS\n")
	lines, err = with([]net.IPAddr{elsewhere, here}, nil)
	require.NoError(t, err)
	require.Contains(t, lines, "ok name: tunnel.example is 127.0.0.9, 127.0.0.1\nok connect: connected to "+h.addr()+
		"\nwarning connect: 127.0.0.9:"+port+" refused the connection -> is tunnel-server running there, on that port?\n")
	require.Contains(t, lines, "\nok session: ")
	lines, err = with([]net.IPAddr{elsewhere, elsewhere}, nil)
	require.Error(t, err)
	require.Equal(t, 2, strings.Count(lines, "failed connect: "), lines)
}
