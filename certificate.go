package pool

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
)

var errNoCertificate = errors.New("the client shows no certificate")

// askForCertificate makes a server's config that demands a certificate of a
// certain authority say so by errors that can be told from others: a missing one
// is errNoCertificate, a wrong one *tls.CertificateVerificationError.
func askForCertificate(c *tls.Config) {
	if c.ClientAuth != tls.RequireAndVerifyClientCert {
		return
	}
	c.ClientAuth = tls.VerifyClientCertIfGiven
	verify := c.VerifyConnection
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errNoCertificate
		}
		if verify == nil {
			return nil
		}
		return verify(state)
	}
}

// uncertified reports whether a server's handshake failed because of the
// client's certificate.
func uncertified(err error) bool {
	var verification *tls.CertificateVerificationError
	return errors.Is(err, errNoCertificate) || errors.As(err, &verification)
}

// refusedCertificate finds, in the failure of a proof, the alert of a server that
// did not take the client's certificate: with TLS 1.3 it comes after the client's
// handshake, and nothing else brings an alert then.
func refusedCertificate(err error, config *tls.Config) error {
	var alert *net.OpError
	if config == nil || !errors.As(err, &alert) || alert.Op != "remote error" {
		return err
	}
	if len(config.Certificates) == 0 && config.GetClientCertificate == nil {
		return fmt.Errorf("%w: the server wants one, and there is none (%w)", ErrCertificateRefused, alert)
	}
	return fmt.Errorf("%w: it has expired, or is not of the authority that the server trusts (%w)", ErrCertificateRefused, alert)
}
