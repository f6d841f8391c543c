package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// visitor is one connection at the front door.
type visitor struct {
	door     *Acceptor
	raw      net.Conn
	place    *handshakeEntry
	attempts bool // it counts among its source's attempts
}

// receive gives an accepted connection a place and a goroutine, or closes it.
func (a *Acceptor) receive(ctx context.Context, conn net.Conn, running *sync.WaitGroup, handle func(context.Context, net.Conn, Hello)) {
	ip := ipOf(conn.RemoteAddr())
	v := &visitor{door: a, raw: conn, place: &handshakeEntry{source: sourceOf(ip)}}
	if a.outside(ip) {
		v.reject(RejectAddress, errOtherAddress)
		conn.Close()
		return
	}
	ctx, cancel := context.WithTimeout(ctx, a.handshakeTimeout)
	v.place.abort = cancel
	if !a.places.add(v.place) {
		cancel()
		v.reject(RejectCap, errTooMany)
		hangUp(conn)
		return
	}
	running.Go(func() { // ends with handle, at latest soon after ctx
		defer cancel()
		v.welcome(ctx, handle)
	})
}

var (
	errOtherAddress = errors.New("only the configured addresses may connect")
	errTooMany      = errors.New("too many handshakes")
	errMadeWay      = errors.New("it made way for a newcomer")
	errLate         = errors.New("not done in time")
	errUnheard      = errors.New("too many attempts from there failed")
)

// welcome brings the connection through the door and hands it on, or closes it.
func (v *visitor) welcome(ctx context.Context, handle func(context.Context, net.Conn, Hello)) {
	a := v.door
	// Closing works on every net.Conn, and in every call that may hang.
	stop := context.AfterFunc(ctx, func() { hangUp(v.raw) })
	conn, hello, err := v.secure(ctx)
	if err == nil && a.places.hold(v.place) && stop() {
		defer a.places.remove(v.place)
		v.settle(false)
		a.mu.Lock()
		a.accepted++
		a.mu.Unlock()
		tuneTCP(v.raw, a.keepAlive)
		handle(ctx, conn, hello) // handle owns conn from here
		return
	}
	stop()
	evicted := a.places.remove(v.place)
	cause := ctx.Err()
	v.settle(evicted || cause != context.Canceled)
	var timeout net.Error
	switch {
	case evicted:
		v.reject(RejectCap, errMadeWay)
	case cause == context.Canceled:
		// Serve ends; that is nobody's fault.
	case cause != nil, errors.As(err, &timeout) && timeout.Timeout():
		v.reject(RejectTimeout, errLate)
	case errors.Is(err, errUnheard):
		v.reject(RejectRate, errUnheard)
	default:
		v.reject(rejectReason(err), err)
	}
	v.raw.Close() // once it is counted, unless ctx closed it before
}

// heard takes note that the peer has spoken, or gone on. The first time it asks
// whether the attempt may cost anything. If not, the peer is told to come back,
// below TLS, and the error is errUnheard.
func (v *visitor) heard() error {
	a := v.door
	if !v.attempts {
		if !a.failures.begin(v.place.source, v.place.favored) {
			_, _ = v.raw.Write(answerBusy) // 5 bytes fit, or the peer does not listen
			v.raw.Close()
			return errUnheard
		}
		v.attempts = true
	}
	a.places.progress(v.place)
	return nil
}

// settle ends the attempt.
func (v *visitor) settle(failed bool) {
	if v.attempts {
		v.door.failures.end(v.place.source, v.place.favored, failed)
	}
}

// reject counts and logs a connection that is not let in. The error may quote
// what the peer sent, so it is escaped.
func (v *visitor) reject(reason RejectReason, err error) {
	a := v.door
	a.mu.Lock()
	a.rejected[reason]++
	a.mu.Unlock()
	level, more := slog.LevelDebug, ""
	var proof *proofError
	if errors.As(err, &proof) && a.failures.wrongProof(v.place.source, v.place.favored, proof.id) {
		level, more = slog.LevelWarn, "; more from there are counted and told once a minute"
	}
	if kind := a.pacedKind(reason, err); kind != nil {
		if others, ok := kind.pass(time.Now()); ok {
			level, more = slog.LevelWarn, others
		}
	}
	Tell(a.log, level, "connection_refused", Facts{"address", v.raw.RemoteAddr(), "reason", string(reason), "error", err},
		"refused a connection from %v (%s): %q%s", v.raw.RemoteAddr(), reason, err, more)
}

// pacedKind is what paces the warnings of a rejection; nil: it is none to warn of
// in this way.
func (a *Acceptor) pacedKind(reason RejectReason, err error) *paced {
	switch {
	case reason == RejectAddress:
		return &a.outsiders
	case reason == RejectTLS && uncertified(err):
		return &a.uncertified
	}
	return nil
}

// hangUp closes a connection by a reset. Nothing is on the way that it could
// cost, and the system does not keep what a flood of strangers has left for a
// minute each.
func hangUp(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

// secure runs TLS and the proof.
func (v *visitor) secure(ctx context.Context) (net.Conn, Hello, error) {
	a, conn := v.door, v.raw
	if deadline, ok := ctx.Deadline(); ok {
		// A connection without deadlines is closed by welcome at that time.
		_ = conn.SetDeadline(deadline)
	}
	var binding []byte
	if a.tls != nil {
		session := tls.Server(batched(conn), a.tls)
		var err error
		if binding, err = handshake(context.WithValue(ctx, visitorKey{}, v), session); err != nil {
			if errors.Is(err, ErrTLSMismatch) {
				turnAway(conn, answerToPlain)
			}
			if uncertified(err) {
				turnAway(conn, nil) // TLS has answered; a reset could overtake it
			}
			return nil, Hello{}, &tlsError{err}
		}
		conn = session
		a.places.progress(v.place)
	}
	if a.keys == nil {
		return conn, Hello{Kind: KindPool}, nil
	}
	hello, err := verifyClient(conn, binding, a.keys, v.heard)
	if errors.Is(err, ErrTLSMismatch) && a.tls == nil {
		turnAway(v.raw, answerToTLS)
	}
	return conn, hello, err
}

// visitorKey finds the visitor in the context of its TLS handshake.
type visitorKey struct{}

// askFirst makes TLS ask the visitor when the client's first message is in,
// before anything is computed for it.
func askFirst(cfg *tls.Config) {
	if cfg == nil {
		return
	}
	choose := cfg.GetConfigForClient
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if v, ok := hello.Context().Value(visitorKey{}).(*visitor); ok {
			if err := v.heard(); err != nil {
				return nil, err
			}
		}
		if choose == nil {
			return nil, nil
		}
		return choose(hello)
	}
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
