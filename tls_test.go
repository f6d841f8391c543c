package pool

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseTLSMode(t *testing.T) {
	for code, want := range map[string]TLSMode{"0": TLSPlain, "1": TLSSelfSigned, "2": TLSVerified} {
		mode, err := ParseTLSMode(code)
		require.NoError(t, err)
		require.Equal(t, want, mode)
	}
	for _, code := range []string{"", "3", "00", "1 ", "plain", "-1", "0\n"} {
		mode, err := ParseTLSMode(code)
		require.ErrorIs(t, err, ErrTLSMode, "%q", code)
		require.NotEqual(t, TLSPlain, mode, "%q must never mean plain", code)
		if code != "" {
			_, err = NewAcceptor(AcceptConfig{TLS: TLSMode(code)})
			require.ErrorIs(t, err, ErrTLSMode)
			s := Security{TLS: TLSMode(code)}
			_, err := s.prepare()
			require.ErrorIs(t, err, ErrTLSMode)
		}
	}
	_, err := ParseTLSMode("0\n")
	require.ErrorContains(t, err, `"0\n"`)
}

func TestServerTLSConfig(t *testing.T) {
	config, err := serverTLSConfig(TLSPlain, &tls.Config{})
	require.NoError(t, err)
	require.Nil(t, config)

	given := &tls.Config{MinVersion: tls.VersionTLS12, Renegotiation: tls.RenegotiateFreelyAsClient}
	config, err = serverTLSConfig(TLSSelfSigned, given)
	require.NoError(t, err)
	require.Len(t, config.Certificates, 1)
	require.EqualValues(t, tls.VersionTLS13, config.MinVersion)
	require.Equal(t, tls.RenegotiateNever, config.Renegotiation)
	require.Empty(t, given.Certificates, "the caller's config was changed")
	require.EqualValues(t, tls.VersionTLS12, given.MinVersion, "the caller's config was changed")

	mine := newAuthority(t, "x").server
	config, err = serverTLSConfig(TLSSelfSigned, mine)
	require.NoError(t, err)
	require.Equal(t, mine.Certificates, config.Certificates, "a certificate that is there is kept")

	_, err = serverTLSConfig(TLSVerified, nil)
	require.ErrorContains(t, err, "TLSConfig")
	_, err = serverTLSConfig(TLSSelfSigned, &tls.Config{MaxVersion: tls.VersionTLS12})
	require.ErrorContains(t, err, "TLSConfig.MaxVersion")
}

func TestClientTLSConfig(t *testing.T) {
	config, err := clientTLSConfig(TLSPlain, &tls.Config{}, "x")
	require.NoError(t, err)
	require.Nil(t, config)

	given := &tls.Config{ServerName: "config.example", InsecureSkipVerify: true}
	config, err = clientTLSConfig(TLSVerified, given, "")
	require.NoError(t, err)
	require.False(t, config.InsecureSkipVerify, "mode 2 always verifies")
	require.Equal(t, "config.example", config.ServerName)
	require.EqualValues(t, tls.VersionTLS13, config.MinVersion)
	require.True(t, given.InsecureSkipVerify, "the caller's config was changed")

	config, err = clientTLSConfig(TLSSelfSigned, given, "field.example")
	require.NoError(t, err)
	require.True(t, config.InsecureSkipVerify)
	require.Equal(t, "field.example", config.ServerName)

	_, err = clientTLSConfig(TLSVerified, nil, "")
	require.ErrorContains(t, err, "ServerName")
}

func TestSecurityCheck(t *testing.T) {
	key := NewKey()
	for _, tt := range []struct {
		field string // that the error names; "" for none
		s     Security
	}{
		{"", Security{}},
		{"", Security{Key: key, Hello: make([]byte, 255)}},
		{"Hello", Security{Key: key, Hello: make([]byte, 256)}},
		{"Hello", Security{Hello: []byte("x")}},
		{"Kind", Security{Kind: 2}},
		{"ServerName", Security{TLS: TLSVerified}},
		{"TLSConfig.MaxVersion", Security{TLSConfig: &tls.Config{MaxVersion: tls.VersionTLS11}}},
	} {
		_, err := tt.s.prepare()
		if tt.field == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, tt.field)

		near, far := net.Pipe()
		_, err = tt.s.Secure(t.Context(), near)
		require.ErrorContains(t, err, tt.field)
		_, err = far.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "Secure owns the connection")
	}
}

func TestWrongHostName(t *testing.T) {
	authority := newAuthority(t, "tunnel.example")
	key := NewKey()
	d := openDoor(t, AcceptConfig{TLS: TLSVerified, TLSConfig: authority.server, Keys: KnownKeys(key)})

	_, err := d.secure(t, Security{TLS: TLSVerified, TLSConfig: authority.client, ServerName: "other.example", Key: key})
	var host x509.HostnameError
	require.ErrorAs(t, err, &host)
	var verification *tls.CertificateVerificationError
	require.ErrorAs(t, err, &verification)
	require.Contains(t, (<-d.log).text, "(tls)")

	_, err = d.secure(t, Security{TLS: TLSVerified, ServerName: "tunnel.example", Key: key})
	require.ErrorAs(t, err, &verification, "the system does not know the test's authority")
	require.Contains(t, (<-d.log).text, "(tls)")
	require.Equal(t, map[RejectReason]uint64{RejectTLS: 2}, d.Stats().Rejected)
}

func TestTLSMismatch(t *testing.T) {
	key := NewKey()
	for _, tt := range []struct {
		name           string
		server, client TLSMode
		serverKey      bool
		onClient       string
		onServer       string // "" when the server cannot notice
	}{
		{"TLS client, plain server", TLSPlain, TLSSelfSigned, true, "other side speaks plain TCP", "client speaks TLS"},
		{"TLS client, plain server without keys", TLSPlain, TLSSelfSigned, false, "other side speaks plain TCP", ""},
		{"plain client, TLS server", TLSSelfSigned, TLSPlain, true, "server speaks TLS", "other side speaks plain TCP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := AcceptConfig{TLS: tt.server}
			if tt.serverKey {
				cfg.Keys = KnownKeys(key)
			}
			d := openDoor(t, cfg)
			_, err := d.secure(t, Security{TLS: tt.client, Key: key})
			require.ErrorIs(t, err, ErrTLSMismatch)
			require.NotErrorIs(t, err, ErrRefused)
			require.ErrorContains(t, err, tt.onClient)
			if tt.onServer != "" {
				require.Contains(t, (<-d.log).text, tt.onServer)
				require.Equal(t, map[RejectReason]uint64{RejectTLS: 1}, d.Stats().Rejected)
			}
		})
	}
}

func TestOlderTLSIsRefused(t *testing.T) {
	old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}
	base := newAuthority(t, "x").server
	for name, config := range map[string]*tls.Config{
		"no config": nil,
		"a config that allows it": func() *tls.Config {
			c := base.Clone()
			c.MinVersion = tls.VersionTLS12
			return c
		}(),
		"a config chosen per client": {GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return base, nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			d := openDoor(t, AcceptConfig{TLSConfig: config})
			conn := tls.Client(d.dial(t), old)
			require.Error(t, conn.Handshake())
			conn.Close()
			require.Contains(t, (<-d.log).text, "(tls)")

			modern, err := d.secure(t, Security{})
			require.NoError(t, err)
			modern.Close()
		})
	}
}

// TestSecureStops holds a client against a server that never answers.
func TestSecureStops(t *testing.T) {
	for name, tt := range map[string]struct {
		s    Security
		hold func(far net.Conn) // what the server does before it falls silent
	}{
		"before TLS":    {Security{}, func(net.Conn) {}},
		"before nonce":  {Security{TLS: TLSPlain, Key: NewKey()}, func(far net.Conn) { _, _, _ = readHello(far) }},
		"while writing": {Security{TLS: TLSPlain, Key: NewKey()}, func(net.Conn) {}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				ctx, cancel := context.WithCancel(t.Context())
				failed := make(chan error, 1)
				go func() {
					_, err := tt.s.Secure(ctx, near)
					failed <- err
				}()
				tt.hold(far)
				synctest.Wait()
				cancel()
				require.ErrorIs(t, <-failed, context.Canceled)
				_, err := io.Copy(io.Discard, far)
				require.NoError(t, err, "the connection was not closed")

				near, _ = net.Pipe()
				ctx, cancel = context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				start := time.Now()
				_, err = tt.s.Secure(ctx, near)
				var timeout net.Error
				require.ErrorAs(t, err, &timeout)
				require.True(t, timeout.Timeout())
				require.Equal(t, 3*time.Second, time.Since(start))
			})
		})
	}
}

// deadlineConn notes the deadline that was set last.
type deadlineConn struct {
	net.Conn
	last time.Time
}

func (c *deadlineConn) SetDeadline(at time.Time) error {
	c.last = at
	return c.Conn.SetDeadline(at)
}

func TestSecureLeavesDeadline(t *testing.T) {
	key := NewKey()
	d := openDoor(t, AcceptConfig{Keys: KnownKeys(key)})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	raw := &deadlineConn{Conn: d.dial(t)}
	s := Security{Key: key}
	conn, err := s.Secure(ctx, raw)
	require.NoError(t, err)
	defer conn.Close()
	want, _ := ctx.Deadline()
	require.Equal(t, want, raw.last)
}

// brokenDeadlines is a connection that cannot keep deadlines.
type brokenDeadlines struct{ net.Conn }

func (brokenDeadlines) SetDeadline(time.Time) error { return errors.ErrUnsupported }

func TestSecureWithoutDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _ := net.Pipe()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s := Security{TLS: TLSPlain, Key: NewKey()}
		_, err := s.Secure(ctx, brokenDeadlines{near})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// TestTurnAwayIsBounded: a peer in the wrong mode gets an answer, but no more
// than a moment and a few bytes of attention.
func TestTurnAwayIsBounded(t *testing.T) {
	t.Run("in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			go func() { _, _ = io.ReadFull(far, make([]byte, len(answerToTLS))) }()
			start := time.Now()
			turnAway(near, answerToTLS)
			require.Equal(t, turnAwayTime, time.Since(start))
		})
	})
	t.Run("in bytes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			sent := make(chan int)
			go func() {
				_, _ = io.ReadFull(far, make([]byte, len(answerToTLS)))
				n, _ := far.Write(make([]byte, 10*turnAwayBytes))
				sent <- n
			}()
			turnAway(near, answerToTLS)
			near.Close()
			require.Equal(t, turnAwayBytes, <-sent)
		})
	})
}

// TestCertificatesThatChange: a certificate that is chosen for each handshake is the
// one that clients see, and none is made; with it goes a resumed session.
func TestCertificatesThatChange(t *testing.T) {
	first, second := newAuthority(t, "first.test"), newAuthority(t, "second.test")
	now := first
	for name, config := range map[string]*tls.Config{
		"GetCertificate": {GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &now.server.Certificates[0], nil }},
		"GetConfigForClient": {GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{Certificates: now.server.Certificates, MinVersion: tls.VersionTLS12}, nil
		}},
	} {
		for _, mode := range []TLSMode{TLSSelfSigned, TLSVerified} {
			t.Run(name+" in mode "+string(mode), func(t *testing.T) {
				now = first
				key := NewKey()
				d := openDoor(t, AcceptConfig{TLS: mode, TLSConfig: config, Keys: KnownKeys(key)})
				cache := tls.NewLRUClientSessionCache(8)
				join := func(a authority, host string) error {
					with := a.client.Clone()
					with.ClientSessionCache = cache
					conn, err := d.secure(t, Security{TLS: TLSVerified, TLSConfig: with, ServerName: host, Key: key})
					if err == nil {
						conn.Close()
					}
					return err
				}
				for range 2 { // the second may resume the session
					require.NoError(t, join(first, "first.test"))
				}
				now = second
				require.NoError(t, join(second, "second.test"))
				old := second.client.Clone()
				old.ServerName, old.MaxVersion = "second.test", tls.VersionTLS12
				require.ErrorContains(t, tls.Client(d.dial(t), old).Handshake(), "protocol version")
			})
		}
	}
}
