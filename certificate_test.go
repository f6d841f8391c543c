package pool

import (
	"crypto/tls"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestClientCertificates: who lacks the certificate that the server demands is
// told so, although TLS 1.3 has it find out after its handshake; and the server
// warns, not more than once a minute.
func TestClientCertificates(t *testing.T) {
	const host = "server.example"
	site, staff, others := newAuthority(t, host), newAuthority(t, "anna"), newAuthority(t, "anna")
	key := NewKey()
	server := site.server.Clone()
	server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, staff.client.RootCAs
	asIfChosen := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return server, nil }}
	showing := func(a authority) *tls.Config {
		c := site.client.Clone()
		cert := a.server.Certificates[0]
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
		return c
	}
	for name, config := range map[string]*tls.Config{"one config": server, "a chosen one": asIfChosen} {
		t.Run(name, func(t *testing.T) {
			d := openDoor(t, AcceptConfig{TLS: TLSVerified, TLSConfig: config, Keys: KnownKeys(key)})
			join := func(with *tls.Config) error {
				conn, err := d.secure(t, Security{TLS: TLSVerified, TLSConfig: with, ServerName: host, Key: key})
				if err == nil {
					conn.Close()
				}
				return err
			}
			require.NoError(t, join(showing(staff)))
			for range 20 { // the news must not be overtaken by a reset
				err := join(site.client)
				require.ErrorIs(t, err, ErrCertificateRefused)
				require.ErrorContains(t, err, "the server wants one, and there is none")
				err = join(showing(others))
				require.ErrorIs(t, err, ErrCertificateRefused)
				require.ErrorContains(t, err, "not of the authority that the server trusts")
			}
			warnings := 0
			for range 40 {
				line := <-d.log
				require.Contains(t, line.text, "(tls)")
				if line.level == "WARN" {
					// The one that was turned away first may be told of second.
					require.Regexp(t, "the client shows no certificate|signed by unknown authority", line.text)
					warnings++
				}
			}
			require.Equal(t, 1, warnings)
			require.Equal(t, map[RejectReason]uint64{RejectTLS: 40}, d.Stats().Rejected)
		})
	}
}
