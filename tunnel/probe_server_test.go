package tunnel

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// probedServer is probed for a server.
func probedServer(t testing.TB, cfg ServerConfig) (string, error) {
	t.Helper()
	var b strings.Builder
	err := ProbeServer(t.Context(), cfg, func(s ProbeStep) { writeStep(&b, s) })
	require.Equal(t, strings.Contains(b.String(), "failed "), err != nil, "%v\n%s", err, &b)
	return b.String(), err
}

func TestProbeServerAllWell(t *testing.T) {
	cfg := ServerConfig{Listen: "127.0.0.1:0", Bind: "127.0.0.1", Keys: []pool.Key{pool.NewKey()}, AllowForward: "db:5432"}
	lines, err := probedServer(t, cfg)
	require.NoError(t, err)
	requireLines(t, lines,
		`ok configuration: TLS mode 1, public ports 1024-65535, forwards to db:5432`,
		`ok certificate: self-signed, made anew by each start; the key binds it`,
		`ok listen: 127\.0\.0\.1:0 is free`,
		`ok public_ports: clients may publish 1024-65535, on 127\.0\.0\.1`,
		`ok open_files: \d+ may be open: \d+ users at the same time, \d+ clients, \d+ public ports`)
	cfg.AllowPorts = "x"
	lines, err = probedServer(t, cfg)
	var field *ConfigError
	require.ErrorAs(t, err, &field)
	require.Regexp(t, `^failed configuration: tunnel: AllowPorts: .*\n$`, lines)
}

// TestProbeServerRunning: the port of a running server is no failure, whatever its
// mode, and the server notices nothing of it but one more guest who left.
func TestProbeServerRunning(t *testing.T) {
	_, roots := authority()
	for what, mode := range map[string]pool.TLSMode{"plain": pool.TLSPlain, "self-signed": pool.TLSSelfSigned, "verified": pool.TLSVerified, "client's certificate": pool.TLSVerified} {
		t.Run(what, func(t *testing.T) {
			h := startServer(t, mode, func(cfg *ServerConfig) {
				if what == "client's certificate" {
					cfg.TLSConfig.ClientAuth, cfg.TLSConfig.ClientCAs = tls.RequireAndVerifyClientCert, roots
				}
			})
			cfg := h.cfg.Load().ServerConfig
			cfg.Listen, cfg.Keyring = h.addr(), nil
			lines, err := probedServer(t, cfg)
			require.NoError(t, err)
			require.Contains(t, lines, "ok listen: "+h.addr()+" is held by a tunnel-server with this key, which is running\n")
			require.Zero(t, h.log.count("joined"))

			cfg.Keys = []pool.Key{pool.NewKey()}
			if what != "client's certificate" { // where the certificate tells
				lines, err = probedServer(t, cfg)
				require.Error(t, err)
				require.Contains(t, lines, "failed listen: "+h.addr()+" is in use by another program, or by a tunnel-server with other keys")
			}
		})
	}
}

func TestProbeServerTroubles(t *testing.T) {
	other := startTarget(t, echo)
	certificate := func(change func(*x509.Certificate)) *tls.Config {
		cert, _ := issueCertificate(t, change)
		return &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	for what, c := range map[string]struct {
		change func(*ServerConfig)
		want   string
	}{
		"port of another program": {func(cfg *ServerConfig) { cfg.Listen = other },
			`failed listen: ` + other + ` is in use by another program, .* -> stop it, or choose another port with --listen; of the server itself, check as its user`},
		"no such address": {func(cfg *ServerConfig) { cfg.Listen = "192.0.2.1:10101" },
			`failed listen: .*cannot assign requested address -> choose an address of this machine`},
		"no such address to bind to": {func(cfg *ServerConfig) { cfg.Bind = "192.0.2.1" },
			`failed public_ports: nothing can be bound to "192\.0\.2\.1": .* -> give --bind an address of this machine`},
		"too many users": {func(cfg *ServerConfig) { cfg.MaxStreams = 1 << 24 },
			`warning open_files: .* -> --max-streams 16777216 needs about \d+: raise the limit \(ulimit -n, LimitNOFILE=\)`},
		"certificate good": {func(cfg *ServerConfig) {
			cfg.TLS, cfg.TLSConfig = pool.TLSVerified, certificate(func(*x509.Certificate) {})
		}, `ok certificate: for tunnel\.test; CN=tunnel\.test, issued by CN=Test CA, until 20\S+, SHA-256 [0-9a-f]{64}`},
		"certificate chosen by handshake": {func(cfg *ServerConfig) {
			its := certificate(func(*x509.Certificate) {})
			cfg.TLS, cfg.TLSConfig = pool.TLSVerified, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return its, nil }}
		}, `ok certificate: for tunnel\.test; .*`},
		"certificate chosen": {func(cfg *ServerConfig) {
			its := &certificate(func(*x509.Certificate) {}).Certificates[0]
			cfg.TLS, cfg.TLSConfig = pool.TLSVerified, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return its, nil }}
		}, `ok certificate: for tunnel\.test; .*`},
		"certificate chosen by name": {func(cfg *ServerConfig) {
			cfg.TLS, cfg.TLSConfig = pool.TLSVerified, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("which?") }}
		}, `ok certificate: chosen for each client by the name that it asks for`},
		"certificate expired": {func(cfg *ServerConfig) {
			cfg.TLS, cfg.TLSConfig = pool.TLSVerified, certificate(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
		}, `failed certificate: for tunnel\.test; .*; CN=tunnel\.test is valid from \S+ to \S+ only -> renew it, and check this machine's clock`},
		"certificate ends soon": {func(cfg *ServerConfig) {
			cfg.TLS, cfg.TLSConfig = pool.TLSVerified, certificate(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(25 * time.Hour) })
		}, `warning certificate: .* -> it ends in 1 day, on \S+: renew it on the server`},
		"certificate for nobody": {func(cfg *ServerConfig) {
			cfg.TLS, cfg.TLSConfig = pool.TLSVerified, certificate(func(c *x509.Certificate) { c.DNSNames = nil })
		}, `warning certificate: CN=tunnel\.test, issued by .* -> clients verify the server's name: get one that has it`},
		"plain": {func(cfg *ServerConfig) { cfg.TLS = pool.TLSPlain }, `ok certificate: none, mode 0: .*`},
	} {
		t.Run(what, func(t *testing.T) {
			cfg := ServerConfig{Listen: "127.0.0.1:0", Keys: []pool.Key{pool.NewKey()}}
			c.change(&cfg)
			lines, _ := probedServer(t, cfg)
			require.Regexp(t, `(?m)^`+c.want+`$`, lines)
			require.LessOrEqual(t, strings.Count(lines, "failed ")+strings.Count(lines, "warning "), 1, lines)
		})
	}

	t.Run("handed over", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		lines, err := probedServer(t, ServerConfig{Listener: l, Keys: []pool.Key{pool.NewKey()}})
		require.NoError(t, err)
		require.Contains(t, lines, fmt.Sprintf("ok listen: a socket on %v was handed over\n", l.Addr()))
		_, err = net.Dial("tcp", l.Addr().String())
		require.NoError(t, err, "it is the caller's still")
	})
}

// TestProbeIsOver: a probe whose context ends says so, and nothing more.
func TestProbeIsOver(t *testing.T) {
	silent := startTarget(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	ctx, cancel := context.WithCancel(t.Context())
	var steps []string
	err := Probe(ctx, ClientConfig{Server: silent, Key: pool.NewKey(), Services: []Service{{Port: 8080, Target: silent}}}, func(s ProbeStep) {
		steps = append(steps, s.Name)
		if s.Name == StepConnect {
			time.AfterFunc(time.Millisecond, cancel)
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{StepConfiguration, StepKey, StepName, StepConnect}, steps)
}
