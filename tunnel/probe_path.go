package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
)

// pathSteps lead to a session, in order.
var pathSteps = []string{StepName, StepConnect, StepTLS, StepProof, StepSession, StepRoundTrip, StepPooled}

// join takes the way to the server, and returns the session at its end; nil when a
// step failed.
func (p *probe) join() *probeSession {
	address, conn := p.connect()
	if conn == nil {
		return nil
	}
	begun := time.Now()
	join := wire.Join{Identity: randomIdentity(), Instance: randomIdentity(), PoolMax: 1, MaxStreams: 1, Name: probeName(p.cfg.Name)}
	conn = p.secure(conn, wire.AppendJoin(nil, join))
	if conn == nil {
		return nil
	}
	s := p.enter(conn, begun)
	if s == nil {
		return nil
	}
	p.roundTrip(s)
	if p.blocked == "" {
		p.pooled(s, address)
	}
	return s
}

// blockedAt notes that the way ends at a step, and skips those behind it.
func (p *probe) blockedAt(step string) {
	p.blocked = step
	for i, name := range pathSteps {
		if name == step {
			p.skip(pathSteps[i+1:]...)
		}
	}
}

// probeName is what the server's log calls the client that only asks.
func probeName(name string) string {
	const tail = " (check)"
	return strings.ToValidUTF8(name[:min(len(name), wire.MaxName-len(tail))], "") + tail
}

// connect looks the server's name up and connects to each address. It returns the
// first connection that there is, and where it leads.
func (p *probe) connect() (address string, conn net.Conn) {
	addresses := []string{p.cfg.Server}
	if p.ownDial {
		p.done(ProbeStep{Name: StepName, State: ProbeSkipped, Detail: "the program connects in a way of its own"})
	} else if addresses = p.lookUp(); addresses == nil {
		p.blockedAt(StepName)
		return "", nil
	}
	type result struct {
		conn net.Conn
		err  error
		took time.Duration
	}
	results := make([]chan result, len(addresses))
	ctx, cancel := context.WithTimeout(p.ctx, handshakeTimeout)
	defer cancel()
	for i, a := range addresses {
		results[i] = make(chan result, 1)
		go func() { // ends with ctx
			begun := time.Now()
			conn, err := p.cfg.Dial(ctx, "tcp", a)
			results[i] <- result{conn, err, time.Since(begun)}
		}()
	}
	var failures []ProbeStep
	for i, a := range addresses {
		r := <-results[i]
		step := ProbeStep{Name: StepConnect, Subject: a, Time: r.took}
		switch {
		case r.err != nil:
			step.State, step.Err = ProbeFailed, r.err
			failures = append(failures, step)
			continue
		case conn == nil:
			address, conn = a, r.conn
		default:
			r.conn.Close()
		}
		step.Detail = "connected to " + a
		p.done(step)
	}
	for _, step := range failures {
		why := diagnose(step.Subject, step.Err)
		if conn != nil { // clients use the addresses that answer
			step.State, step.Detail, step.Remedy = ProbeWarning, why.what, why.remedy
			p.done(step)
			continue
		}
		p.fail(step, why, step.Err)
	}
	if conn == nil {
		p.blockedAt(StepConnect)
	}
	return address, conn
}

// lookUp returns the server's addresses with its port, none if there are none.
func (p *probe) lookUp() (addresses []string) {
	host, port, _ := net.SplitHostPort(p.cfg.Server)
	ctx, cancel := context.WithTimeout(p.ctx, handshakeTimeout)
	defer cancel()
	begun := time.Now()
	found, err := p.lookup(ctx, host)
	step := ProbeStep{Name: StepName, Subject: host, Time: time.Since(begun)}
	if err != nil {
		p.fail(step, diagnose(p.cfg.Server, err), err)
		return nil
	}
	var all []string
	for _, ip := range found {
		all = append(all, ip.String())
		addresses = append(addresses, net.JoinHostPort(ip.String(), port))
	}
	step.Detail = fmt.Sprintf("%s is %s", host, strings.Join(all, ", "))
	if net.ParseIP(host) != nil {
		step.Detail, step.Time = host+" is an address already", 0
	}
	p.done(step)
	return addresses
}

// secure does TLS and the proof of the key, each a step. Nil: one failed.
func (p *probe) secure(conn net.Conn, hello []byte) net.Conn {
	ctx, cancel := context.WithTimeout(p.ctx, handshakeTimeout)
	defer cancel()
	sec := p.cfg.security(p.cfg.Key, wire.KindControl, hello)
	begun := time.Now()
	var state *tls.ConnectionState
	encrypted := begun
	sec.TLSConfig = observed(sec.TLSConfig, func(s tls.ConnectionState) { state, encrypted = &s, time.Now() })
	conn, err := sec.Secure(ctx, conn)
	proof := ProbeStep{Name: StepProof, Time: time.Since(encrypted)}
	if err != nil && p.atTLS(err, state != nil) {
		why := diagnose(p.cfg.Server, err)
		why.what += shownCertificate(err)
		if errors.Is(err, pool.ErrBusy) {
			why.remedy += busyRemedy
		}
		p.fail(ProbeStep{Name: StepTLS, Time: time.Since(begun)}, why, err)
		p.blockedAt(StepTLS)
		return nil
	}
	p.reportTLS(state, encrypted.Sub(begun))
	if err != nil {
		why := diagnose(p.cfg.Server, err)
		if errors.Is(err, pool.ErrBusy) {
			why.remedy += busyRemedy
		}
		p.fail(proof, why, err)
		p.blockedAt(StepProof)
		return nil
	}
	proof.Detail = "both ends hold the key"
	p.done(proof)
	conn.SetDeadline(time.Time{})
	return conn
}

const busyRemedy = "; try again in a while, as the client does"

// atTLS reports whether an error is of TLS rather than of the proof behind it,
// which in the plain mode is the first to meet the wrong mode.
func (p *probe) atTLS(err error, shaken bool) bool {
	return p.mode() != pool.TLSPlain && !shaken || errors.Is(err, pool.ErrTLSMismatch) || errors.Is(err, pool.ErrCertificateRefused)
}

// observed is config with a callback for when a handshake has succeeded.
func observed(config *tls.Config, see func(tls.ConnectionState)) *tls.Config {
	if config == nil {
		config = new(tls.Config)
	}
	config = config.Clone()
	verify := config.VerifyConnection
	config.VerifyConnection = func(s tls.ConnectionState) error {
		if verify != nil {
			if err := verify(s); err != nil {
				return err
			}
		}
		see(s)
		return nil
	}
	return config
}

// enter waits for the server's welcome.
func (p *probe) enter(conn net.Conn, begun time.Time) *probeSession {
	step := ProbeStep{Name: StepSession}
	waited := time.Now()
	w, conn, err := readWelcome(p.ctx, conn)
	step.Time = time.Since(waited)
	if err != nil {
		conn.Close()
		why := diagnose(p.cfg.Server, err)
		var no *denied
		if errors.As(err, &no) && no.code == wire.TooMany {
			why.remedy = "a client that is connected already stays; ask the server's operator for more (--max-sessions)"
		}
		p.fail(step, why, err)
		p.blockedAt(StepSession)
		return nil
	}
	conn.SetDeadline(time.Time{})
	step.Detail = fmt.Sprintf("heartbeat %v, up to %d idle connections, %d services", w.Heartbeat, w.PoolMax, w.MaxServices)
	p.done(step)
	return newProbeSession(conn, w)
}

// roundTrip measures it. If that fails, there is no session any more.
func (p *probe) roundTrip(s *probeSession) {
	step := ProbeStep{Name: StepRoundTrip}
	median, most, err := s.pings(p.ctx)
	if err != nil {
		p.fail(step, diagnose(p.cfg.Server, err), err)
		p.blockedAt(StepRoundTrip)
		return
	}
	step.Time = median
	step.Detail = fmt.Sprintf("median of %d pings; the longest took %.2f ms", probePings, float64(most)/float64(time.Millisecond))
	p.done(step)
	s.begin()
}

// pooled makes one of the connections on which users come.
func (p *probe) pooled(s *probeSession, address string) {
	ctx, cancel := context.WithTimeout(p.ctx, handshakeTimeout)
	defer cancel()
	begun := time.Now()
	err := p.poolOne(ctx, s, address)
	step := ProbeStep{Name: StepPooled, Time: time.Since(begun)}
	if err != nil {
		why := diagnosis{what: "a pooled connection could not be made: " + quoteSafe(err.Error()),
			remedy: "has the server as many connections as it may have? Its log says more; see its limit of open files"}
		p.fail(step, why, err)
		return
	}
	step.Detail = "dialed, proven and known by its ID"
	p.done(step)
}

// poolOne dials, proves and closes it.
func (p *probe) poolOne(ctx context.Context, s *probeSession, address string) error {
	conn, err := p.cfg.Dial(ctx, "tcp", address)
	if err != nil {
		return err
	}
	sec := p.cfg.security(p.cfg.Key.Session(s.welcome.Secret[:]), wire.KindPool, s.welcome.Session[:])
	if conn, err = sec.Secure(ctx, conn); err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var id pool.ID
	if _, err := io.ReadFull(conn, id[:]); err != nil {
		return fmt.Errorf("no ID came: %w", err)
	}
	_, err = pool.ParseID(string(id[:]))
	return err
}
