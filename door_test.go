package pool

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What the tests of the front door share.

// doorGreeting is what a test's door writes to whom it lets in; it stands for
// the ID that the pool writes.
const doorGreeting = "GREETING"

type logLine struct{ level, text string }

// eventLog is a Logger whose lines are events that a test can wait for.
type eventLog chan logLine

func (l eventLog) add(level, format string, args []any) {
	l <- logLine{level, fmt.Sprintf(format, args...)}
}
func (l eventLog) Debug(format string, args ...any) { l.add("DEBUG", format, args) }
func (l eventLog) Info(format string, args ...any)  { l.add("INFO", format, args) }
func (l eventLog) Warn(format string, args ...any)  { l.add("WARN", format, args) }
func (l eventLog) Error(format string, args ...any) { l.add("ERROR", format, args) }

type arrival struct {
	conn  net.Conn
	hello Hello
}

// door is an Acceptor at work.
type door struct {
	*Acceptor
	listener net.Listener
	log      eventLog
	arrivals chan arrival
	cancel   context.CancelFunc
}

// openDoor serves cfg on a loopback port until the test ends.
func openDoor(t *testing.T, cfg AcceptConfig) *door {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return openDoorOn(t, l, cfg)
}

// openDoorOn is openDoor for a listener of the test's.
func openDoorOn(t *testing.T, l net.Listener, cfg AcceptConfig) *door {
	d := &door{listener: l, log: make(eventLog, 1<<12), arrivals: make(chan arrival, 1<<10)}
	cfg.Logger = d.log
	var err error
	d.Acceptor, err = NewAcceptor(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	served := make(chan error, 1)
	go func() { served <- d.Serve(ctx, l, d.greet) }() // ends with cancel
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-served)
		require.Zero(t, d.Stats().InFlight)
		close(d.arrivals)
		for a := range d.arrivals {
			closeBelowTLS(a.conn)
		}
	})
	return d
}

func (d *door) greet(_ context.Context, conn net.Conn, hello Hello) {
	d.arrivals <- arrival{conn, hello}
	_, _ = conn.Write([]byte(doorGreeting))
}

func (d *door) dial(t *testing.T) net.Conn {
	conn, err := net.Dial("tcp", d.listener.Addr().String())
	require.NoError(t, err)
	return conn
}

// secure dials and brings the connection through the client's side.
func (d *door) secure(t *testing.T, s Security) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return s.Secure(ctx, d.dial(t))
}

// pipeListener accepts net.Pipe connections that claim to come from anywhere.
type pipeListener struct {
	queue  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{queue: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.queue:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return textAddr("pipe") }

// dial returns the client's end; from is what the server sees, "" for nothing.
func (l *pipeListener) dial(from string) net.Conn {
	client, server := net.Pipe()
	l.queue <- &addrConn{Conn: server, remote: textAddr(from)}
	return client
}

type textAddr string

func (a textAddr) Network() string { return "test" }
func (a textAddr) String() string  { return string(a) }

type addrConn struct {
	net.Conn
	remote net.Addr
}

func (c *addrConn) RemoteAddr() net.Addr { return c.remote }

// authority is a certificate authority in memory and what it vouches for.
type authority struct{ server, client *tls.Config }

func newAuthority(t testing.TB, host string) authority {
	sign := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		if signer == nil {
			parent, signer = template, key
		}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
		require.NoError(t, err)
		cert, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		return cert, key
	}
	ca, caKey := sign(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	leaf, leafKey := sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{host}, KeyUsage: x509.KeyUsageDigitalSignature,
	}, ca, caKey)
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	return authority{
		server: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: leafKey}}},
		client: &tls.Config{RootCAs: roots},
	}
}
