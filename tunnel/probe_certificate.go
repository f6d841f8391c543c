package tunnel

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	pool "github.com/tunnelpool/pool"
)

// expiryNotice is how long before a certificate ends somebody should know.
const expiryNotice = 14 * 24 * time.Hour

// reportTLS tells of a handshake that succeeded; state is nil in the plain mode.
func (p *probe) reportTLS(state *tls.ConnectionState, took time.Duration) {
	step := ProbeStep{Name: StepTLS, Time: took}
	if state == nil || len(state.PeerCertificates) == 0 {
		step.Detail, step.Time = "off, mode 0: what passes can be read and changed on the way", 0
		p.done(step)
		return
	}
	chain := state.PeerCertificates
	what := "not verified, mode 1; the key binds it"
	if p.mode() == pool.TLSVerified {
		what = "verified, mode 2"
		step.State, step.Remedy = expiring(chain, time.Now())
	}
	step.Detail = what + "; " + certificateText(chain[0])
	p.done(step)
}

// expiring looks for the first of a chain to end.
func expiring(chain []*x509.Certificate, now time.Time) (ProbeState, string) {
	first := chain[0]
	for _, c := range chain {
		if c.NotAfter.Before(first.NotAfter) {
			first = c
		}
	}
	left := first.NotAfter.Sub(now)
	if left > expiryNotice {
		return ProbeOK, ""
	}
	which := "it"
	if first != chain[0] {
		which = fmt.Sprintf("its issuer's, %s,", distinguished(first.Subject.String()))
	}
	return ProbeWarning, fmt.Sprintf("%s ends in %s, on %s: renew it on the server", which, daysText(left), first.NotAfter.UTC().Format(time.DateOnly))
}

func daysText(left time.Duration) string {
	if days := int(left / (24 * time.Hour)); days > 0 {
		return counted(days, "day")
	}
	return "less than a day"
}

// certificateText says whose a certificate is. Its names are a stranger's words.
func certificateText(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	by := "issued by " + distinguished(c.Issuer.String())
	if c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil { // with its own key
		by = "self-signed"
	}
	return fmt.Sprintf("%s, %s, until %s, SHA-256 %s", distinguished(c.Subject.String()), by, c.NotAfter.UTC().Format(time.DateOnly), hex.EncodeToString(sum[:]))
}

func distinguished(name string) string {
	const most = 120 // bytes; a stranger can make it as long as he likes
	if name == "" {
		return "without a name"
	}
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	return quoteSafe(name)
}

// shownCertificate tells of the certificate that was not accepted.
func shownCertificate(err error) string {
	var verification *tls.CertificateVerificationError
	if !errors.As(err, &verification) || len(verification.UnverifiedCertificates) == 0 {
		return ""
	}
	c := verification.UnverifiedCertificates[0]
	return fmt.Sprintf("; shown was %s, valid from %s", certificateText(c), c.NotBefore.UTC().Format(time.DateOnly))
}
