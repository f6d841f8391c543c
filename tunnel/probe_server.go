package tunnel

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/access"
	"github.com/tunnelpool/pool/internal/service"
	"github.com/tunnelpool/pool/internal/wire"
)

// The names of the steps of [ProbeServer], beside StepConfiguration and StepListen.
const (
	StepCertificate = "certificate"  // who it is for, and until when
	StepPorts       = "public_ports" // may be bound
	StepOpenFiles   = "open_files"   // what their limit allows
)

// ProbeServer finds out, step by step, whether a server of cfg would work on this
// machine. Steps are reported as by [Probe], and the error is as there. It opens
// no port and speaks to nobody but a server that has the port of cfg already: that
// is no failure if it holds a key of cfg. cfg.Listener and cfg.Inherited, if they
// are set, are left as they are.
func ProbeServer(ctx context.Context, cfg ServerConfig, report func(ProbeStep)) error {
	p := &probe{ctx: ctx, report: report}
	asked := cfg.MaxStreams
	if err := cfg.fill(); err != nil {
		report(ProbeStep{Name: StepConfiguration, State: ProbeFailed, Detail: err.Error(), Err: err})
		return err
	}
	p.cfg.TLS = cfg.TLS
	forwards := "no forwards"
	if cfg.AllowForward != "" {
		forwards = "forwards to " + cfg.AllowForward
	}
	p.done(ProbeStep{Name: StepConfiguration, Detail: fmt.Sprintf("TLS mode %s, public ports %s, %s", p.mode(), cfg.AllowPorts, forwards)})
	cfg.TLSConfig = shown(cfg.TLSConfig)
	p.certificate(cfg.TLSConfig)
	p.listen(&cfg)
	p.publicPorts(&cfg)
	p.openFiles(asked)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return p.failed
}

// shown is what a client that asks for no certain name has to do with, nil for none.
func shown(config *tls.Config) *tls.Config {
	if config == nil {
		return nil
	}
	hello := &tls.ClientHelloInfo{SupportedVersions: []uint16{tls.VersionTLS13}}
	if choose := config.GetConfigForClient; choose != nil {
		if chosen, err := choose(hello); err == nil && chosen != nil {
			config = chosen
		}
	}
	if choose := config.GetCertificate; choose != nil && len(config.Certificates) == 0 {
		if cert, err := choose(hello); err == nil && cert != nil {
			config = config.Clone()
			config.Certificates = []tls.Certificate{*cert}
		}
	}
	return config
}

// certificate looks at what clients will be shown.
func (p *probe) certificate(config *tls.Config) {
	step := ProbeStep{Name: StepCertificate}
	switch {
	case p.mode() == pool.TLSPlain:
		step.Detail = "none, mode 0: what passes between the two ends can be read and changed on the way"
	case p.mode() == pool.TLSVerified && len(config.Certificates) == 0:
		step.Detail = "chosen for each client by the name that it asks for"
	case config == nil || len(config.Certificates) == 0:
		step.Detail = "self-signed, made anew by each start; the key binds it"
	default:
		p.ownCertificate(step, config)
		return
	}
	p.done(step)
}

func (p *probe) ownCertificate(step ProbeStep, config *tls.Config) {
	var chain []*x509.Certificate
	for _, der := range config.Certificates[0].Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			p.fail(step, diagnosis{what: "the chain has what is no certificate: " + quoteSafe(err.Error()), remedy: "get the file anew from its issuer"}, err)
			return
		}
		chain = append(chain, c)
	}
	own, now := chain[0], time.Now()
	names := own.DNSNames
	for _, ip := range own.IPAddresses {
		names = append(names, ip.String())
	}
	step.Detail = certificateText(own)
	if len(names) > 0 {
		step.Detail = fmt.Sprintf("for %s; %s", distinguished(strings.Join(names, ", ")), step.Detail)
	}
	if config.ClientAuth == tls.RequireAndVerifyClientCert {
		step.Detail += "; clients must show one too"
	}
	for _, c := range chain {
		if now.After(c.NotAfter) || now.Before(c.NotBefore) {
			err := x509.CertificateInvalidError{Cert: c, Reason: x509.Expired}
			p.fail(step, diagnosis{
				what: fmt.Sprintf("%s; %s is valid from %s to %s only", step.Detail, distinguished(c.Subject.String()),
					c.NotBefore.UTC().Format(time.DateOnly), c.NotAfter.UTC().Format(time.DateOnly)),
				remedy: "renew it, and check this machine's clock",
			}, err)
			return
		}
	}
	step.State, step.Remedy = expiring(chain, now)
	if len(names) == 0 {
		step.State, step.Remedy = ProbeWarning, "clients verify the server's name: get one that has it"
	}
	p.done(step)
}

// listen looks whether the tunnel's own port may be had, or who has it.
func (p *probe) listen(cfg *ServerConfig) {
	step := ProbeStep{Name: StepListen, Subject: cfg.Listen}
	if cfg.Listener != nil {
		step.Detail = fmt.Sprintf("a socket on %s was handed over", cfg.Listener.Addr())
		p.done(step)
		return
	}
	begun := time.Now()
	err := service.CanListen("tcp", cfg.Listen)
	switch {
	case err == nil:
		step.Detail = cfg.Listen + " is free"
	case service.AddrInUse(err) && p.served(cfg):
		step.Time = time.Since(begun)
		step.Detail = cfg.Listen + " is held by a tunnel-server with this key, which is running"
	case service.AddrInUse(err):
		step.Time = time.Since(begun)
		p.fail(step, diagnosis{
			what:   fmt.Sprintf("%s is in use by another program, or by a tunnel-server with other keys or another --tls", cfg.Listen),
			remedy: "stop it, or choose another port with --listen; of the server itself, check as its user",
		}, err)
		return
	default:
		p.fail(step, diagnosis{what: quoteSafe(err.Error()), remedy: listenRemedy(err)}, err)
		return
	}
	p.done(step)
}

// served reports whether a server that holds a key of cfg has the port. The proof
// is made with an introduction that no session comes of.
func (p *probe) served(cfg *ServerConfig) bool {
	ctx, cancel := context.WithTimeout(p.ctx, handshakeTimeout)
	defer cancel()
	grants := cfg.Keyring.Grants()
	if len(grants) == 0 {
		return false
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", cfg.Listen)
	if err != nil {
		return false
	}
	ours := false
	sec := pool.Security{TLS: p.mode(), Key: grants[0].Key, Kind: wire.KindControl}
	if sec.TLS == pool.TLSVerified {
		sec.TLS = pool.TLSSelfSigned // it is known by the key, and by its certificate
	}
	sec.TLSConfig = observed(nil, func(s tls.ConnectionState) {
		ours = cfg.TLSConfig != nil && len(cfg.TLSConfig.Certificates) > 0 && len(s.PeerCertificates) > 0 &&
			bytes.Equal(s.PeerCertificates[0].Raw, cfg.TLSConfig.Certificates[0].Certificate[0])
	})
	conn, err = sec.Secure(ctx, conn)
	if err != nil {
		return ours && errors.Is(err, pool.ErrCertificateRefused) // it wants a client's
	}
	conn.Close()
	return true
}

// privileged is the first port that anybody may bind.
const privileged = 1024

// publicPorts looks whether the ports that clients may publish can be bound.
func (p *probe) publicPorts(cfg *ServerConfig) {
	step := ProbeStep{Name: StepPorts, Detail: "clients may publish " + cfg.AllowPorts}
	if cfg.Bind != "" {
		step.Detail += ", on " + cfg.Bind
	}
	if err := service.CanListen("tcp", net.JoinHostPort(cfg.Bind, "0")); err != nil {
		p.fail(step, diagnosis{what: fmt.Sprintf("nothing can be bound to %q: %s", cfg.Bind, quoteSafe(err.Error())), remedy: "give --bind an address of this machine"}, err)
		return
	}
	ports, _ := access.ParsePorts(cfg.AllowPorts) // fill saw to it
	for port := uint16(1); port < privileged; port++ {
		if !ports.Allows(port) {
			continue
		}
		err := service.CanListen("tcp", net.JoinHostPort(cfg.Bind, fmt.Sprint(port)))
		if errors.Is(err, syscall.EACCES) {
			step.State = ProbeWarning
			step.Detail += fmt.Sprintf("; this user cannot bind those below %d", privileged)
			step.Remedy = "run as root or with CAP_NET_BIND_SERVICE, or publish higher ones"
		}
		break // they are all alike
	}
	p.done(step)
}

// openFiles tells what their limit allows. asked is what was configured, 0 for the
// default.
func (p *probe) openFiles(asked int) {
	files := descriptorLimit()
	step := ProbeStep{Name: StepOpenFiles, Detail: fmt.Sprintf("%d may be open: %d users at the same time, %d clients, %d public ports",
		files, streamLimit(files), min(portLimit(files), DefaultMaxSessions), portLimit(files))}
	if asked > streamLimit(files) {
		step.State = ProbeWarning
		step.Remedy = fmt.Sprintf("--max-streams %d needs about %d: raise the limit (ulimit -n, LimitNOFILE=)", asked, 8*(asked+1)/3)
	}
	p.done(step)
}
