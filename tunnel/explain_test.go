package tunnel

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/session"
	"github.com/tunnelpool/pool/internal/wire"
)

// TestExplain: every way in which the server cannot be joined has a line that
// says what to do. All errors come wrapped.
func TestExplain(t *testing.T) {
	verification := func(err error) error { return &tls.CertificateVerificationError{Err: err} }
	evil := &x509.Certificate{DNSNames: []string{"evil\x1b[31m.test"}}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{pool.ErrRefused, "host:1 refused the key: use the one that 'tunnel-server key show' prints there, or ask its operator whether yours was revoked"},
		{pool.ErrBusy, "host:1 is busy turning away failed attempts, some perhaps from this network: this is no matter of the key"},
		{fmt.Errorf("%w: none", pool.ErrCertificateRefused), "host:1: wrapped: client certificate refused: none; give one that the server's operator issued with --tls-cert and --tls-key"},
		{pool.ErrImpostor, "host:1 does not hold our key: it is not the server, or someone sits between; nothing was sent"},
		{pool.ErrTLSMismatch, "host:1: wrapped: the two sides use different TLS modes; start both with the same --tls"},
		{fmt.Errorf("%w: %w", pool.ErrTLSMismatch, tls.RecordHeaderError{RecordHeader: [5]byte([]byte("this "))}), "host:1: wrapped: the two sides use different TLS modes: tls: ; start both with the same --tls"},
		{fmt.Errorf("%w: %w", pool.ErrTLSMismatch, tls.RecordHeaderError{RecordHeader: [5]byte([]byte("HTTP/"))}), "host:1 is no tunnel-server: what answers there speaks another protocol: check the server's port"},
		{&net.DNSError{Err: "no such host", IsNotFound: true}, `Name "host" not found: check the server's name`},
		{&net.DNSError{Err: "server misbehaving"}, `Name "host" could not be looked up (server misbehaving): check this machine's DNS`},
		{syscall.ECONNREFUSED, "host:1 refused the connection: is tunnel-server running there, on that port?"},
		{syscall.EHOSTUNREACH, "No route to host:1: check this machine's network"},
		{syscall.ENETUNREACH, "No route to host:1: check this machine's network"},
		{os.ErrDeadlineExceeded, "No answer from host:1 in time: does its firewall let the port in, and does a tunnel-server listen there?"},
		{verification(x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"a.test"}}, Host: "b.test"}), `The server's certificate is not for "b.test" (x509: certificate is valid for a.test, not b.test): check --server, or give the certificate's name with --tls-name; it is self-signed: does the server run with another --tls?`},
		{verification(x509.HostnameError{Certificate: evil, Host: "b.test"}), `The server's certificate is not for "b.test" ("x509: certificate is valid for evil\x1b[31m.test, not b.test"): check --server, or give the certificate's name with --tls-name; it is self-signed: does the server run with another --tls?`},
		{verification(x509.UnknownAuthorityError{}), "The certificate of host is not trusted: its issuer is unknown here; give it with --tls-ca"},
		{verification(x509.CertificateInvalidError{Reason: x509.Expired}), "The certificate of host is expired or not valid yet: renew it, and check both clocks"},
		{verification(errors.New("odd\n")), `The certificate of host is not trusted: "wrapped: tls: failed to verify certificate: odd\n"`},
		{errors.New("odd\x07"), `Cannot join host:1: "wrapped: odd\a"`},
		{&denied{wire.Shutdown, "the server is stopping"}, "the server denied the session: the server is stopping"},
		{&denied{wire.BadRequest, "what?\u202e"}, `the server denied the session: "what?\u202e" (do both ends run the same version?)`},
	} {
		require.Equal(t, tt.want, explain("host:1", fmt.Errorf("wrapped: %w", tt.err)))
	}
}

func TestRemedies(t *testing.T) {
	for code := wire.PortNotAllowed; code <= wire.BadRequest; code++ {
		switch code {
		case wire.PortNotAllowed, wire.BindNotAllowed, wire.Unsupported, wire.BadRequest:
			require.NotEmpty(t, remedy(code))
			require.False(t, mayPass(code), "%v", code)
		default:
			require.True(t, mayPass(code), "%v", code)
		}
	}
}

func TestExplainTarget(t *testing.T) {
	require.Equal(t, "target a:1 refused the connection: is it running?", explainTarget("a:1", wire.ResetRefused, nil))
	require.Equal(t, "target a:1 did not answer in time", explainTarget("a:1", wire.ResetTimeout, nil))
	require.Equal(t, "target a:1: its name was not found", explainTarget("a:1", wire.ResetUnreachable, &net.DNSError{}))
	require.Equal(t, "target a:1 cannot be reached: boom", explainTarget("a:1", wire.ResetUnreachable, errors.New("boom")))
}

func TestQuoteSafe(t *testing.T) {
	for text, want := range map[string]string{
		"plain words":        "plain words",
		"grüße, 世界":          "grüße, 世界",
		"":                   "",
		"two\nlines":         `"two\nlines"`,
		"\x1b[2J":            `"\x1b[2J"`,
		"right\u202eleft":    `"right\u202eleft"`,
		"zero\u200bwidth":    `"zero\u200bwidth"`,
		"not utf-8 \xff":     `"not utf-8 \xff"`,
		"null\x00":           `"null\x00"`,
		"del\x7f and \u0085": `"del\x7f and \u0085"`,
	} {
		require.Equal(t, want, quoteSafe(text))
	}
}

func TestPublicAddr(t *testing.T) {
	require.Equal(t, "example.com:80", publicAddr("example.com:10101", "0.0.0.0:80"))
	require.Equal(t, "example.com:80", publicAddr("example.com:10101", "[::]:80"))
	require.Equal(t, "192.0.2.1:80", publicAddr("example.com:10101", "192.0.2.1:80"))
	require.Equal(t, `"no address"`, publicAddr("example.com:10101", "no address"))
}

func TestSeldom(t *testing.T) {
	var s seldom
	now := time.Now()
	muted, ok := s.pass(now)
	require.True(t, ok)
	require.Zero(t, muted)
	for range 3 {
		_, ok = s.pass(now.Add(time.Second))
		require.False(t, ok)
	}
	muted, ok = s.pass(now.Add(seldomPeriod))
	require.True(t, ok)
	require.Equal(t, 3, muted)
	require.Equal(t, " (and 3 users before)", mutedNote(muted))
}

// TestNeedSpacing: the first word of a burst goes out at once, what follows is
// gathered.
func TestNeedSpacing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c := &serverSession{link: session.New(a, time.Hour)}
		type said struct {
			count uint16
			at    time.Duration
		}
		var heard []said
		begun := time.Now()
		ended := make(chan struct{})
		go func() { c.link.Run(t.Context(), func(wire.Message) error { return nil }); close(ended) }()
		read := make(chan struct{})
		go func() {
			defer close(read)
			for {
				m, err := wire.ReadMessage(b, nil)
				if err != nil {
					return
				}
				if n, ok := m.(wire.Need); ok {
					heard = append(heard, said{n.Count, time.Since(begun)})
				}
			}
		}()
		for i := range 100 {
			c.need(i + 1)
		}
		time.Sleep(needSpacing + time.Millisecond)
		c.need(70_000)
		time.Sleep(time.Second)
		c.need(5)
		time.Sleep(time.Second)
		c.link.Close(errors.New("over"))
		<-ended
		<-read
		require.Equal(t, []said{{1, 0}, {100, needSpacing}, {65535, 2 * needSpacing}, {5, needSpacing + time.Millisecond + time.Second}}, heard)
	})
}
