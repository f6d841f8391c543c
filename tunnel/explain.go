package tunnel

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/service"
	"github.com/tunnelpool/pool/internal/wire"
)

// explain says in one line why the server could not be joined, and what the
// person at the client can do.
func explain(server string, err error) string {
	host, _, _ := net.SplitHostPort(server)
	var dns *net.DNSError
	var ne net.Error
	var no *denied
	var verification *tls.CertificateVerificationError
	switch {
	case errors.As(err, &no):
		return no.Error() + remedy(no.code)
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Sprintf("Name %q not found: check the server's name", host)
	case errors.As(err, &dns):
		return fmt.Sprintf("Name %q could not be looked up (%v): check this machine's DNS", host, dns.Err)
	case errors.As(err, &verification):
		return explainCertificate(host, err)
	case errors.Is(err, pool.ErrTLSMismatch):
		return fmt.Sprintf("%s: %v; start both with the same --tls", server, err)
	case errors.Is(err, pool.ErrCertificateRefused):
		return fmt.Sprintf("%s: %s; give one that the server's operator issued with --tls-cert and --tls-key", server, quoteSafe(err.Error()))
	case errors.Is(err, pool.ErrRefused):
		return fmt.Sprintf("%s refused the key: use the one that 'tunnel-server key show' prints there, or ask its operator whether yours was revoked", server)
	case errors.Is(err, pool.ErrBusy):
		return fmt.Sprintf("%s is busy turning away failed attempts, some perhaps from this network: this is no matter of the key", server)
	case errors.Is(err, pool.ErrImpostor):
		return fmt.Sprintf("%s does not hold our key: it is not the server, or someone sits between; nothing was sent", server)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("%s refused the connection: is tunnel-server running there, on that port?", server)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Sprintf("No route to %s: check this machine's network", server)
	case errors.As(err, &ne) && ne.Timeout():
		return fmt.Sprintf("No answer from %s in time: does its firewall let the port in, and does a tunnel-server listen there?", server)
	}
	return fmt.Sprintf("Cannot join %s: %s", server, quoteSafe(err.Error()))
}

func explainCertificate(host string, err error) string {
	var name x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &name):
		// The names in a certificate are a stranger's words.
		return fmt.Sprintf("The server's certificate is not for %q (%s): check --server, or give the certificate's name with --tls-name%s",
			name.Host, quoteSafe(name.Error()), selfMade(name.Certificate))
	case errors.As(err, &unknown):
		return fmt.Sprintf("The certificate of %s is not trusted: its issuer is unknown here; give it with --tls-ca%s", host, selfMade(unknown.Cert))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("The certificate of %s is expired or not valid yet: renew it, and check both clocks", host)
	}
	return fmt.Sprintf("The certificate of %s is not trusted: %s", host, quoteSafe(err.Error()))
}

// selfMade adds the likeliest cause when a certificate was issued by itself: a
// server in mode 1.
func selfMade(cert *x509.Certificate) string {
	if cert == nil || cert.IsCA || !bytes.Equal(cert.RawIssuer, cert.RawSubject) {
		return ""
	}
	return "; it is self-signed: does the server run with another --tls?"
}

// remedy is what the person at the client can do about a denial, in
// parentheses, or "".
func remedy(code wire.DenyCode) string {
	switch code {
	case wire.PortNotAllowed:
		return " (choose another port)"
	case wire.PortTaken, wire.PortHeld:
		return " (choose another port, or 0 for any; trying again until it is free)"
	case wire.BindNotAllowed:
		return " (leave the bind address out, or use one of the server's)"
	case wire.IdentityInUse:
		return " (two clients on one machine need a --state-dir each, and a copied state directory must lose its file 'identity'; trying again until the other is gone)"
	case wire.Unsupported, wire.BadRequest:
		return " (do both ends run the same version?)"
	}
	return ""
}

// mayPass reports whether a denied service is worth asking for again.
func mayPass(code wire.DenyCode) bool {
	switch code {
	case wire.PortNotAllowed, wire.BindNotAllowed, wire.TargetNotAllowed, wire.Unsupported, wire.BadRequest:
		return false
	}
	return true
}

// explainFailures says why no target could be reached for a user.
func explainFailures(failures []service.Failure) string {
	if len(failures) == 1 {
		return explainFailure(failures[0])
	}
	var all []string
	for _, f := range failures {
		all = append(all, explainFailure(f))
	}
	return "a user is reset, since no target is left: " + strings.Join(all, "; ")
}

func explainFailure(f service.Failure) string {
	if f.Reason == 0 {
		return fmt.Sprintf("target %s is not well: %s", f.Address, quoteSafe(f.Err.Error()))
	}
	return explainTarget(f.Address, f.Reason, f.Err)
}

// explainTarget says why a target could not be reached.
func explainTarget(target string, reason wire.ResetReason, err error) string {
	var dns *net.DNSError
	target = quoteSafe(target) // of a forward, the client's word
	switch {
	case reason == wire.ResetOverloaded:
		return fmt.Sprintf("a user for %s is turned away: %v", target, err)
	case reason == wire.ResetRefused:
		return fmt.Sprintf("target %s refused the connection: is it running?", target)
	case reason == wire.ResetTimeout:
		return fmt.Sprintf("target %s did not answer in time", target)
	case errors.As(err, &dns):
		return fmt.Sprintf("target %s: its name was not found", target)
	}
	return fmt.Sprintf("target %s cannot be reached: %s", target, quoteSafe(err.Error()))
}

// quoteSafe makes what a peer sent fit for a log line: plain text passes as it
// is, anything else is quoted with escapes.
func quoteSafe(text string) string {
	for _, r := range text {
		if !strconv.IsPrint(r) {
			return strconv.Quote(text)
		}
	}
	if !utf8.ValidString(text) {
		return strconv.Quote(text)
	}
	return text
}
