package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
)

// Security is the client's side of the front door: what a dialed connection
// goes through before it is used. It is not changed by its methods, which may
// be called concurrently.
type Security struct {
	// TLS is the mode; the zero value means [TLSSelfSigned].
	TLS TLSMode

	// TLSConfig is cloned for each connection and raised to TLS 1.3; nil means
	// an empty one. In mode 1 the server's certificate is not verified beyond
	// what the config's own callbacks do.
	TLSConfig *tls.Config

	// ServerName is sent to the server, and verified in mode 2, where it must
	// be set here or in TLSConfig.
	ServerName string

	// Key is proven to the server, and the server proves it back; the zero Key
	// means that no proof is made.
	Key Key

	// Kind is part of the proof; zero means [KindPool].
	Kind Kind

	// Hello is sent with the proof and covered by it: at most 255 bytes. It
	// needs a Key.
	Hello []byte
}

// Secure runs the TLS handshake and the proof of the key on conn and returns
// the connection to use from then on.
//
// Secure owns conn: it closes it on every error. It sets conn's deadline to
// that of ctx and leaves it in place on success, for what the caller does under
// the same deadline; the caller clears it. A cancelled ctx ends Secure at once.
//
// Errors to tell apart: [ErrRefused], [ErrBusy], [ErrImpostor],
// [ErrCertificateRefused], [ErrTLSMismatch], *[tls.CertificateVerificationError], and ctx's own. A server
// that has no place left, or is too slow for its own deadline, looks like
// [ErrRefused].
func (s *Security) Secure(ctx context.Context, conn net.Conn) (net.Conn, error) {
	config, err := s.prepare()
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s.secure(ctx, conn, config)
}

// secure is Secure with what prepare returned, of which many connections need
// only one.
func (s *Security) secure(ctx context.Context, conn net.Conn, config *tls.Config) (net.Conn, error) {
	// Closing works on every net.Conn, and in every call that may hang.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	secured, err := s.run(ctx, conn, config)
	if !stop() {
		// The closed connection is the consequence, ctx the cause.
		err = fmt.Errorf("secure the connection: %w", ctx.Err())
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

func (s *Security) run(ctx context.Context, conn net.Conn, config *tls.Config) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok {
		// A connection without deadlines is closed by Secure at that time.
		_ = conn.SetDeadline(deadline)
	}
	var binding []byte
	if config != nil {
		session := tls.Client(batched(conn), config)
		var err error
		if binding, err = handshake(ctx, session); err != nil {
			return nil, busy(err)
		}
		conn = session
	}
	if s.Key.IsZero() {
		return conn, nil
	}
	hello := Hello{KeyID: s.Key.ID(), Kind: s.kind(), Data: s.Hello}
	if err := proveTo(conn, binding, s.Key, hello); err != nil {
		return nil, refusedCertificate(err, config)
	}
	return conn, nil
}

// prepare checks the settings and returns the TLS config to use; nil in plain
// mode.
func (s *Security) prepare() (*tls.Config, error) {
	switch {
	case len(s.Hello) > maxHello:
		return nil, fmt.Errorf("Hello: %d bytes, at most %d fit", len(s.Hello), maxHello)
	case s.Key.IsZero() && len(s.Hello) > 0:
		return nil, errors.New("Hello: it is only sent with a proof, and Key is not set")
	case s.Key.IsZero() && s.kind() != KindPool:
		return nil, errors.New("Kind: it is only sent with a proof, and Key is not set")
	}
	mode, err := s.TLS.orDefault()
	if err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return clientTLSConfig(mode, s.TLSConfig, s.ServerName)
}

func (s *Security) kind() Kind {
	if s.Kind == 0 {
		return KindPool
	}
	return s.Kind
}
