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

// diagnosis is why something failed, and what the person can do.
type diagnosis struct {
	what   string
	sep    string // between them in one line, where there is a remedy
	remedy string // may be empty
}

func (d diagnosis) String() string {
	if d.remedy == "" {
		return d.what
	}
	return d.what + d.sep + d.remedy
}

// explain says in one line why the server could not be joined, and what the
// person at the client can do.
func explain(server string, err error) string {
	var no *denied
	if errors.As(err, &no) {
		return no.Error() + remedy(no.code)
	}
	return diagnose(server, err).String()
}

// diagnose finds out why the server could not be joined.
func diagnose(server string, err error) diagnosis {
	host, _, _ := net.SplitHostPort(server)
	var dns *net.DNSError
	var ne net.Error
	var no *denied
	var verification *tls.CertificateVerificationError
	say := func(remedy, format string, args ...any) diagnosis {
		return diagnosis{fmt.Sprintf(format, args...), ": ", remedy}
	}
	switch {
	case errors.As(err, &no):
		return diagnosis{no.Error(), "; ", whatToDo(no.code)}
	case errors.As(err, &dns) && dns.IsNotFound:
		return say("check the server's name", "Name %q not found", host)
	case errors.As(err, &dns):
		return say("check this machine's DNS", "Name %q could not be looked up (%v)", host, dns.Err)
	case errors.As(err, &verification):
		return diagnoseCertificate(host, err)
	case errors.Is(err, pool.ErrTLSMismatch) && foreign(err):
		return say("check the server's port", "%s is no tunnel-server: what answers there speaks another protocol", server)
	case errors.Is(err, pool.ErrTLSMismatch):
		return diagnosis{fmt.Sprintf("%s: %v", server, err), "; ", "start both with the same --tls"}
	case errors.Is(err, pool.ErrCertificateRefused):
		return diagnosis{fmt.Sprintf("%s: %s", server, quoteSafe(err.Error())), "; ",
			"give one that the server's operator issued with --tls-cert and --tls-key"}
	case errors.Is(err, pool.ErrRefused):
		return say("use the one that 'tunnel-server key show' prints there, or ask its operator whether yours was revoked",
			"%s refused the key", server)
	case errors.Is(err, pool.ErrBusy):
		return say("this is no matter of the key", "%s is busy turning away failed attempts, some perhaps from this network", server)
	case errors.Is(err, pool.ErrImpostor):
		return say("it is not the server, or someone sits between; nothing was sent", "%s does not hold our key", server)
	case errors.Is(err, syscall.ECONNREFUSED):
		return say("is tunnel-server running there, on that port?", "%s refused the connection", server)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return say("check this machine's network", "No route to %s", server)
	case errors.As(err, &ne) && ne.Timeout():
		return say("does its firewall let the port in, and does a tunnel-server listen there?", "No answer from %s in time", server)
	}
	return diagnosis{what: fmt.Sprintf("Cannot join %s: %s", server, quoteSafe(err.Error()))}
}

// foreign reports whether what answered TLS is neither that nor a tunnel-server in
// the plain mode, which says "this port speaks plain TCP".
func foreign(err error) bool {
	var header tls.RecordHeaderError
	return errors.As(err, &header) && string(header.RecordHeader[:]) != "this "
}

func diagnoseCertificate(host string, err error) diagnosis {
	var name x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &name):
		// The names in a certificate are a stranger's words.
		return diagnosis{fmt.Sprintf("The server's certificate is not for %q (%s)", name.Host, quoteSafe(name.Error())), ": ",
			"check --server, or give the certificate's name with --tls-name" + selfMade(name.Certificate)}
	case errors.As(err, &unknown):
		return diagnosis{fmt.Sprintf("The certificate of %s is not trusted: its issuer is unknown here", host), "; ",
			"give it with --tls-ca" + selfMade(unknown.Cert)}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return diagnosis{fmt.Sprintf("The certificate of %s is expired or not valid yet", host), ": ", "renew it, and check both clocks"}
	}
	return diagnosis{what: fmt.Sprintf("The certificate of %s is not trusted: %s", host, quoteSafe(err.Error()))}
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
	text := whatToDo(code)
	switch code {
	case wire.PortTaken, wire.PortHeld:
		text += "; trying again until it is free"
	}
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// whatToDo is the person's part of it.
func whatToDo(code wire.DenyCode) string {
	switch code {
	case wire.PortNotAllowed:
		return "choose another port"
	case wire.PortTaken, wire.PortHeld:
		return "choose another port, or 0 for any"
	case wire.BindNotAllowed:
		return "leave the bind address out, or use one of the server's"
	case wire.IdentityInUse:
		return "two clients on one machine need a --state-dir each, and a copied state directory must lose its file 'identity'"
	case wire.Unsupported, wire.BadRequest:
		return "do both ends run the same version?"
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
	return diagnoseTarget(target, reason, err).String()
}

func diagnoseTarget(target string, reason wire.ResetReason, err error) diagnosis {
	var dns *net.DNSError
	target = quoteSafe(target) // of a forward, the client's word
	switch {
	case reason == wire.ResetOverloaded:
		return diagnosis{what: fmt.Sprintf("a user for %s is turned away: %v", target, err)}
	case reason == wire.ResetRefused:
		return diagnosis{fmt.Sprintf("target %s refused the connection", target), ": ", "is it running?"}
	case reason == wire.ResetTimeout:
		return diagnosis{what: fmt.Sprintf("target %s did not answer in time", target)}
	case errors.As(err, &dns):
		return diagnosis{what: fmt.Sprintf("target %s: its name was not found", target)}
	}
	return diagnosis{what: fmt.Sprintf("target %s cannot be reached: %s", target, quoteSafe(err.Error()))}
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
