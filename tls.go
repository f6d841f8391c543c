package pool

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// TLSMode says how pooled connections are encrypted. The zero value means
// [TLSSelfSigned], the safe default that needs no certificates.
type TLSMode string

const (
	// TLSPlain is TCP without encryption. A key still decides who may connect,
	// but afterwards neither privacy nor integrity is protected.
	TLSPlain TLSMode = "0"

	// TLSSelfSigned is TLS 1.3 with whatever certificate the server has. The
	// certificate proves nothing; with a key on both sides the proof of the key
	// is bound to the TLS session, so that a man in the middle fails.
	TLSSelfSigned TLSMode = "1"

	// TLSVerified is TLS 1.3 where the client verifies the server's
	// certificate and host name.
	TLSVerified TLSMode = "2"
)

// ParseTLSMode reads "0", "1" or "2". All else, also the empty text, is
// [ErrTLSMode]: an unknown mode never means plain TCP.
func ParseTLSMode(code string) (TLSMode, error) {
	switch mode := TLSMode(code); mode {
	case TLSPlain, TLSSelfSigned, TLSVerified:
		return mode, nil
	}
	return "", fmt.Errorf("%w %q: use 0 (plain TCP), 1 (self-signed) or 2 (verified)", ErrTLSMode, code)
}

// orDefault resolves the zero value and refuses what is no mode.
func (m TLSMode) orDefault() (TLSMode, error) {
	if m == "" {
		return TLSSelfSigned, nil
	}
	return ParseTLSMode(string(m))
}

// serverTLSConfig returns what a server in this mode presents: nil in plain
// mode, else a hardened copy of cfg (nil stands for an empty one). In mode 1 a
// certificate is generated when cfg has none.
func serverTLSConfig(mode TLSMode, cfg *tls.Config) (*tls.Config, error) {
	if mode == TLSPlain {
		return nil, nil
	}
	c, err := hardened(cfg)
	if err != nil {
		return nil, err
	}
	askForCertificate(c)
	if choose := c.GetConfigForClient; choose != nil {
		c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := choose(hello)
			if chosen == nil || err != nil {
				return nil, err
			}
			h, err := hardened(chosen)
			if err == nil {
				askForCertificate(h)
			}
			return h, err
		}
		return c, nil
	}
	if len(c.Certificates) > 0 || c.GetCertificate != nil {
		return c, nil
	}
	if mode == TLSVerified {
		return nil, errors.New("TLSConfig: TLS mode 2 needs a certificate that clients can verify")
	}
	cert, err := generateCertificate()
	if err != nil {
		return nil, fmt.Errorf("generate a self-signed certificate: %w", err)
	}
	c.Certificates = []tls.Certificate{cert}
	return c, nil
}

// clientTLSConfig returns what a client in this mode speaks: nil in plain mode,
// else a hardened copy of cfg (nil stands for an empty one). A serverName takes
// precedence over the one in cfg.
func clientTLSConfig(mode TLSMode, cfg *tls.Config, serverName string) (*tls.Config, error) {
	if mode == TLSPlain {
		return nil, nil
	}
	c, err := hardened(cfg)
	if err != nil {
		return nil, err
	}
	if serverName != "" {
		c.ServerName = serverName
	}
	c.InsecureSkipVerify = mode == TLSSelfSigned
	if mode == TLSVerified && c.ServerName == "" {
		return nil, errors.New("ServerName: TLS mode 2 needs the host name that the server's certificate is for")
	}
	return c, nil
}

// hardened clones cfg and raises it to TLS 1.3. The exporter that binds the
// proof of the key to the session needs that, and no renegotiation.
func hardened(cfg *tls.Config) (*tls.Config, error) {
	if cfg == nil {
		return &tls.Config{MinVersion: tls.VersionTLS13}, nil
	}
	if cfg.MaxVersion != 0 && cfg.MaxVersion < tls.VersionTLS13 {
		return nil, errors.New("TLSConfig.MaxVersion: it excludes TLS 1.3, which is required")
	}
	c := cfg.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS13)
	c.Renegotiation = tls.RenegotiateNever
	return c, nil
}

// certificateLife only has to be long: nobody verifies a generated certificate,
// and one that does look at the dates should not fail on a clock that is off.
const certificateLife = 10 * 365 * 24 * time.Hour

// generateCertificate makes an ECDSA P-256 certificate that lives only in this
// process. Its subject tells a scanner nothing about the program.
func generateCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "localhost"},
		DNSNames:     []string{"localhost"},
		NotBefore:    now.Add(-24 * time.Hour),
		NotAfter:     now.Add(certificateLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// handshake runs the TLS handshake of conn and returns the binding of the
// session: what both ends of it, and nobody else, can compute (RFC 9266).
func handshake(ctx context.Context, conn *tls.Conn) (binding []byte, err error) {
	if err := conn.HandshakeContext(ctx); err != nil {
		var header tls.RecordHeaderError
		if errors.As(err, &header) {
			return nil, fmt.Errorf("%w: the other side speaks plain TCP where this one speaks TLS (%w)", ErrTLSMismatch, err)
		}
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	state := conn.ConnectionState()
	binding, err = state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		return nil, fmt.Errorf("TLS channel binding: %w", err)
	}
	return binding, nil
}

// looksLikeTLS tells whether b begins as a TLS handshake or alert record does.
func looksLikeTLS(b []byte) bool {
	const recordAlert, recordHandshake, majorVersion = 0x15, 0x16, 0x03
	return len(b) >= 2 && (b[0] == recordAlert || b[0] == recordHandshake) && b[1] == majorVersion
}

// What a server says to a peer in the wrong mode, so that the peer can tell a
// wrong setting from a broken path. To a TLS client any text is "no TLS"; to a
// plain one the alert (fatal, protocol_version) is.
var (
	answerToTLS   = []byte("this port speaks plain TCP\n")
	answerToPlain = []byte{0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x46}
)

// answerBusy is what a server says in any mode to whom it does not hear: as
// long as the head of a TLS record, and none.
var answerBusy = []byte("busy\n")

// busy finds the server's answerBusy in the failure of a client's handshake.
func busy(err error) error {
	var header tls.RecordHeaderError
	if errors.As(err, &header) && string(header.RecordHeader[:]) == string(answerBusy) {
		return ErrBusy
	}
	return err
}

const (
	turnAwayTime  = 500 * time.Millisecond
	turnAwayBytes = 64 << 10
)

// turnAway answers a peer in the wrong mode. It then reads on for a moment,
// bounded in bytes and time: closing a socket with unread bytes resets it, and
// the reset can overtake the answer.
func turnAway(conn net.Conn, answer []byte) {
	if conn.SetDeadline(time.Now().Add(turnAwayTime)) != nil {
		return
	}
	if _, err := conn.Write(answer); err != nil {
		return
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() != nil {
		return
	}
	buf := make([]byte, 4<<10)
	for left := turnAwayBytes; left > 0; {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		left -= n
	}
}
