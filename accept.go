package pool

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	defaultKeepAlive              = 30 * time.Second
	defaultHandshakeTimeout       = 10 * time.Second
	defaultMaxHandshakes          = 1024
	defaultMaxHandshakesPerSource = 256

	minAcceptBackoff = 5 * time.Millisecond
	maxAcceptBackoff = time.Second

	// Wrong proofs are worth a warning, but strangers must not be able to fill
	// the log: beyond this rate they are logged at debug level.
	warningsPerSecond = 1
	warningsBurst     = 10
)

// AcceptConfig says whom an [Acceptor] lets in.
type AcceptConfig struct {
	// TLS is the mode; the zero value means [TLSSelfSigned].
	TLS TLSMode

	// TLSConfig is cloned and raised to TLS 1.3; nil means an empty one. In
	// mode 1 a certificate is generated when it has none.
	TLSConfig *tls.Config

	// Keys finds the key that a connection has to prove; nil asks for no proof.
	Keys KeyFunc

	// ClientIP, when set, is the only address that may connect. An IPv4 address
	// and its IPv4-mapped IPv6 form are the same; zones are ignored.
	ClientIP string

	// KeepAlive is the idle time before TCP keep-alive probes, three of them, a
	// third of it apart. Zero means 30 s; a negative value turns them off.
	KeepAlive time.Duration

	// HandshakeTimeout bounds TLS, the proof and what handle does, together.
	// Zero means 10 s.
	HandshakeTimeout time.Duration

	// MaxHandshakes and MaxHandshakesPerSource cap how many connections are
	// between accept and the end of handle, in all and from one IPv4 address or
	// IPv6 /64. Zero means 1024 and 256. At a cap the one longest without
	// progress makes way for the newcomer.
	MaxHandshakes, MaxHandshakesPerSource int

	// Logger takes refused connections at debug level, wrong proofs and failures
	// to accept as warnings; nil logs nothing.
	Logger Logger
}

// RejectReason says why a connection did not get through the front door.
type RejectReason string

const (
	RejectAddress RejectReason = "address" // not from AcceptConfig.ClientIP
	RejectCap     RejectReason = "cap"     // made way for a newcomer, or found no place
	RejectTLS     RejectReason = "tls"     // the TLS handshake failed, or only one side speaks TLS
	RejectProof   RejectReason = "proof"   // wrong proof, unknown key, or not our protocol
	RejectTimeout RejectReason = "timeout" // not done within HandshakeTimeout
	RejectClosed  RejectReason = "closed"  // the peer left in the middle
)

// AcceptStats counts what an [Acceptor] did since it was made.
type AcceptStats struct {
	InFlight int                     // between accept and the end of handle, now
	Accepted uint64                  // passed to handle
	Rejected map[RejectReason]uint64 // the caller's own copy; reasons that never occurred are missing
}

// Acceptor is the front door of a port: it brings strangers through TLS and the
// proof of the key, without letting them hold up each other or grow anything
// without bound. It is safe for concurrent use and may serve several listeners,
// which then share its caps.
type Acceptor struct {
	keys             KeyFunc
	tls              *tls.Config // nil: plain
	clientIP         netip.Addr  // not valid: any
	keepAlive        time.Duration
	handshakeTimeout time.Duration
	log              Logger
	warnings         *rate.Limiter
	places           *handshakes

	mu       sync.Mutex // guards the counters
	accepted uint64
	rejected map[RejectReason]uint64
}

// NewAcceptor returns an Acceptor. It refuses a configuration that cannot work
// with an error that names the field.
func NewAcceptor(cfg AcceptConfig) (*Acceptor, error) {
	mode, err := cfg.TLS.orDefault()
	if err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	a := &Acceptor{
		keys:             cfg.Keys,
		keepAlive:        cmp.Or(cfg.KeepAlive, defaultKeepAlive),
		handshakeTimeout: cmp.Or(cfg.HandshakeTimeout, defaultHandshakeTimeout),
		log:              orSilent(cfg.Logger),
		warnings:         rate.NewLimiter(warningsPerSecond, warningsBurst),
		rejected:         make(map[RejectReason]uint64),
	}
	if a.tls, err = serverTLSConfig(mode, cfg.TLSConfig); err != nil {
		return nil, err
	}
	if cfg.ClientIP != "" {
		ip, err := netip.ParseAddr(cfg.ClientIP)
		if err != nil {
			return nil, fmt.Errorf("ClientIP: %w", err)
		}
		a.clientIP = ip.Unmap().WithZone("")
	}
	switch {
	case cfg.HandshakeTimeout < 0:
		return nil, errors.New("HandshakeTimeout: it is negative")
	case cfg.MaxHandshakes < 0:
		return nil, errors.New("MaxHandshakes: it is negative")
	case cfg.MaxHandshakesPerSource < 0:
		return nil, errors.New("MaxHandshakesPerSource: it is negative")
	}
	a.places = newHandshakes(
		cmp.Or(cfg.MaxHandshakes, defaultMaxHandshakes),
		cmp.Or(cfg.MaxHandshakesPerSource, defaultMaxHandshakesPerSource))
	return a, nil
}

// Serve accepts connections on l and calls handle for each that gets through,
// until ctx ends or l is closed; both are no error. It closes l, ends the
// handshakes in flight, and returns when all their goroutines, and so all calls
// of handle, are gone.
//
// handle runs in the connection's own goroutine and owns conn. The handshake's
// deadline is still set on conn, and ctx ends with it; handle returns soon,
// because the connection's place among those in flight is held until then. When
// no proof is asked, hello is empty but for [KindPool].
func (a *Acceptor) Serve(ctx context.Context, l net.Listener, handle func(ctx context.Context, conn net.Conn, hello Hello)) error {
	ctx, cancel := context.WithCancel(ctx)
	closeListener := sync.OnceFunc(func() { l.Close() })
	stop := context.AfterFunc(ctx, closeListener) // wakes Accept
	var running sync.WaitGroup
	defer func() {
		stop()
		closeListener() // also waits for the one that ctx started
		cancel()
		running.Wait()
	}()
	backoff := minAcceptBackoff
	for {
		conn, err := l.Accept()
		if err == nil {
			backoff = minAcceptBackoff
			a.receive(ctx, conn, &running, handle)
			continue
		}
		if ctx.Err() != nil || listenerClosed(err) {
			return nil
		}
		// Typically the descriptor table is full. No jitter: nobody else waits
		// in step with us.
		a.log.Warn("accept on %v failed, trying again in %v: %v", l.Addr(), backoff, err)
		timer := time.NewTimer(backoff)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		backoff = min(2*backoff, maxAcceptBackoff)
	}
}

// listenerClosed tells the end of a listener, of whatever kind, from a failure
// that may pass.
func listenerClosed(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe)
}

// receive gives an accepted connection a place and a goroutine, or closes it.
func (a *Acceptor) receive(ctx context.Context, conn net.Conn, running *sync.WaitGroup, handle func(context.Context, net.Conn, Hello)) {
	ip := remoteIP(conn)
	if a.clientIP.IsValid() && ip != a.clientIP {
		a.reject(conn, RejectAddress, errors.New("only the configured address may connect"))
		conn.Close()
		return
	}
	ctx, cancel := context.WithTimeout(ctx, a.handshakeTimeout)
	place := &handshakeEntry{source: sourceOf(ip), abort: cancel}
	if !a.places.add(place) {
		cancel()
		a.reject(conn, RejectCap, errors.New("too many handshakes"))
		conn.Close()
		return
	}
	running.Go(func() { // ends with handle, at latest soon after ctx
		defer cancel()
		a.welcome(ctx, conn, place, handle)
	})
}

// welcome brings one connection through the door and hands it on, or closes it.
func (a *Acceptor) welcome(ctx context.Context, raw net.Conn, place *handshakeEntry, handle func(context.Context, net.Conn, Hello)) {
	// Closing works on every net.Conn, and in every call that may hang.
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	tuneTCP(raw, a.keepAlive)
	conn, hello, err := a.secure(ctx, raw, func() { a.places.progress(place) })
	if err == nil && a.places.hold(place) && stop() {
		defer a.places.remove(place)
		a.mu.Lock()
		a.accepted++
		a.mu.Unlock()
		handle(ctx, conn, hello) // handle owns conn from here
		return
	}
	stop()
	evicted := a.places.remove(place)
	cause := ctx.Err()
	defer raw.Close() // once it is counted, unless ctx closed it before
	var timeout net.Error
	switch {
	case evicted:
		a.reject(raw, RejectCap, errors.New("it made way for a newcomer"))
	case cause == context.Canceled:
		// Serve ends; that is nobody's fault.
	case cause != nil, errors.As(err, &timeout) && timeout.Timeout():
		a.reject(raw, RejectTimeout, errors.New("not done in time"))
	default:
		a.reject(raw, rejectReason(err), err)
	}
}

// secure runs TLS and the proof, calling progress when a stage is passed.
func (a *Acceptor) secure(ctx context.Context, conn net.Conn, progress func()) (net.Conn, Hello, error) {
	if deadline, ok := ctx.Deadline(); ok {
		// A connection without deadlines is closed by welcome at that time.
		_ = conn.SetDeadline(deadline)
	}
	raw := conn
	var binding []byte
	if a.tls != nil {
		session := tls.Server(conn, a.tls)
		var err error
		if binding, err = handshake(ctx, session); err != nil {
			if errors.Is(err, ErrTLSMismatch) {
				turnAway(raw, answerToPlain)
			}
			return nil, Hello{}, &tlsError{err}
		}
		conn = session
		progress()
	}
	if a.keys == nil {
		return conn, Hello{Kind: KindPool}, nil
	}
	hello, err := verifyClient(conn, binding, a.keys, progress)
	if errors.Is(err, ErrTLSMismatch) && a.tls == nil {
		turnAway(raw, answerToTLS)
	}
	return conn, hello, err
}

// tlsError: the handshake failed, in contrast to what follows it.
type tlsError struct{ error }

func (e *tlsError) Unwrap() error { return e.error }

func rejectReason(err error) RejectReason {
	var inTLS *tlsError
	var proof *proofError
	switch {
	case errors.As(err, &proof), errors.Is(err, errVersion):
		return RejectProof
	case errors.Is(err, ErrTLSMismatch):
		return RejectTLS
	case hungUp(err):
		return RejectClosed
	case errors.As(err, &inTLS):
		return RejectTLS
	}
	return RejectClosed
}

// reject counts and logs a connection that was closed. The error may quote what
// the peer sent, so it is escaped.
func (a *Acceptor) reject(conn net.Conn, reason RejectReason, err error) {
	a.mu.Lock()
	a.rejected[reason]++
	a.mu.Unlock()
	write := a.log.Debug
	var proof *proofError
	if errors.As(err, &proof) && a.warnings.Allow() {
		write = a.log.Warn
	}
	write("refused a connection from %v (%s): %q", conn.RemoteAddr(), reason, err.Error())
}

// Stats returns the counters as they are now.
func (a *Acceptor) Stats() AcceptStats {
	inFlight := a.places.inFlight()
	a.mu.Lock()
	defer a.mu.Unlock()
	return AcceptStats{InFlight: inFlight, Accepted: a.accepted, Rejected: maps.Clone(a.rejected)}
}

// tuneTCP sets what pooled connections need of TCP: no delay for small writes,
// and keep-alive probes while they are idle. Connections that are not TCP are
// left alone; a socket that refuses an option works without it.
func tuneTCP(conn net.Conn, keepAlive time.Duration) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	_ = tcp.SetNoDelay(true)
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: keepAlive > 0, Idle: keepAlive, Interval: keepAlive / 3, Count: 3,
	})
}

// remoteIP returns the peer's address, unmapped and without a zone; not valid
// when it has none.
func remoteIP(conn net.Conn) netip.Addr {
	var ip netip.Addr
	switch addr := conn.RemoteAddr().(type) {
	case nil:
	case *net.TCPAddr:
		ip = addr.AddrPort().Addr()
	default:
		if withPort, err := netip.ParseAddrPort(addr.String()); err == nil {
			ip = withPort.Addr()
		}
	}
	return ip.Unmap().WithZone("")
}

// sourceOf groups addresses by who is likely behind them: one IPv4 address, or
// the IPv6 /64 that a single subscriber usually has all of.
func sourceOf(ip netip.Addr) netip.Prefix {
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	source, _ := ip.Prefix(bits) // not valid when ip is not
	return source
}
