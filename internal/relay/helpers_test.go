package relay

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/handoff"
	"github.com/tunnelpool/pool/internal/wire"
)

// patience bounds every wait of a test; only a failure lasts that long.
const patience = 10 * time.Second

// tcpPair returns both ends of a loopback connection.
func tcpPair(t testing.TB) (dialed, accepted *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	d, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	a, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { d.Close(); a.Close() })
	return d.(*net.TCPConn), a.(*net.TCPConn)
}

var testCertificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// tlsPair returns both ends of a TLS connection over loopback.
func tlsPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	c, s := tcpPair(t)
	tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	ts := tls.Server(s, &tls.Config{Certificates: []tls.Certificate{testCertificate()}})
	shaken := make(chan error, 1)
	go func() { shaken <- ts.Handshake() }()
	require.NoError(t, tc.Handshake())
	require.NoError(t, <-shaken)
	return tc, ts
}

// inEachMode runs a test over plain and over encrypted pooled connections.
func inEachMode(t *testing.T, test func(t *testing.T, lane func() (client, server net.Conn))) {
	t.Run("plain", func(t *testing.T) {
		test(t, func() (net.Conn, net.Conn) { c, s := tcpPair(t); return c, s })
	})
	t.Run("tls", func(t *testing.T) {
		test(t, func() (net.Conn, net.Conn) { return tlsPair(t) })
	})
}

// rig is one stream between a user and a target, both in the test's hands,
// over a pooled connection that Serve and Attend share.
type rig struct {
	user, target   *net.TCPConn
	client, server net.Conn // the pooled connection's ends
	cancelServer   context.CancelFunc
	cancelClient   context.CancelFunc
	served         chan Result
	attended       chan Result
}

type rigOptions struct {
	number  uint32
	ackWait time.Duration
	refuse  wire.ResetReason // the target is not reached
	noRoom  bool             // the client has no place for the connection
}

func start(t testing.TB, client, server net.Conn, o rigOptions) *rig {
	t.Helper()
	if o.number == 0 {
		o.number = 1
	}
	if o.ackWait == 0 {
		o.ackWait = patience
	}
	r := &rig{client: client, server: server, served: make(chan Result, 1), attended: make(chan Result, 1)}
	var user, target *net.TCPConn
	r.user, user = tcpPair(t)
	target, r.target = tcpPair(t)
	limit := time.Now().Add(patience)
	r.user.SetDeadline(limit)
	r.target.SetDeadline(limit)
	sctx, cs := context.WithCancel(context.Background())
	cctx, cc := context.WithCancel(context.Background())
	r.cancelServer, r.cancelClient = cs, cc
	t.Cleanup(cs)
	t.Cleanup(cc)
	go func() { r.served <- serveOn(sctx, user, server, o.number, o.ackWait) }()
	go func() {
		r.attended <- attend(cctx, client, Task{
			Commit: agree,
			Number: o.number, StartWait: patience,
			Dial: func(context.Context) (net.Conn, wire.ResetReason) {
				if o.refuse != 0 {
					target.Close()
					return nil, o.refuse
				}
				return target, 0
			},
			Reserve: func() bool { return !o.noRoom },
		})
	}()
	return r
}

// results waits for both sides.
func (r *rig) results(t testing.TB) (served, attended Result) {
	t.Helper()
	return await(t, r.served), await(t, r.attended)
}

// keptByBoth waits for a stream that ended so that the connection can go on.
func (r *rig) keptByBoth(t testing.TB) (served, attended Result) {
	t.Helper()
	served, attended = r.results(t)
	require.True(t, served.Keep, "server: %+v", served)
	require.True(t, attended.Keep, "client: %+v", attended)
	return served, attended
}

func await[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came in time")
		panic("unreachable")
	}
}

// reset makes the peer of c see a reset.
func reset(t testing.TB, c *net.TCPConn) {
	t.Helper()
	require.NoError(t, c.SetLinger(0))
	require.NoError(t, c.Close())
}

// seesReset reads until c fails, and wants a reset rather than an end.
func seesReset(t testing.TB, c net.Conn) {
	t.Helper()
	_, err := io.Copy(io.Discard, c)
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func send(t testing.TB, c net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(c, text)
	require.NoError(t, err)
}

func receive(t testing.TB, c net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	_, err := io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, text, string(got))
}

// pattern is what stream n carries: no two streams share it.
func pattern(n uint32, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(uint32(i)*2654435761>>24) ^ byte(n*31) ^ byte(n>>8)
	}
	return b
}

// frames builds what a peer of the test's own sends.
func frames(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func frame(t wire.FrameType, n uint32, payload ...byte) []byte {
	return wire.AppendFrame(nil, t, n, payload...)
}

// readFrame reads one frame as a peer of the test's own.
func readFrame(t testing.TB, c net.Conn) (wire.FrameHeader, []byte) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	head := make([]byte, wire.FrameHeaderSize)
	_, err := io.ReadFull(c, head)
	require.NoError(t, err)
	h, err := wire.ParseFrameHeader(head)
	require.NoError(t, err)
	payload := make([]byte, h.Length)
	_, err = io.ReadFull(c, payload)
	require.NoError(t, err)
	return h, payload
}

func wantFrame(t testing.TB, c net.Conn, typ wire.FrameType, n uint32) []byte {
	t.Helper()
	h, payload := readFrame(t, c)
	require.Equal(t, typ.String(), h.Type.String())
	require.Equal(t, n, h.Stream)
	return payload
}

// serveOn serves one user on one connection; nobody answers a cancel.
func serveOn(ctx context.Context, user, conn net.Conn, number uint32, ackWait time.Duration) Result {
	offered := false
	return serve(ctx, user, func(context.Context) (*Offering, error) {
		if offered {
			return nil, ErrNoAck
		}
		offered = true
		return &Offering{
			Conn: conn, Number: number, AckWait: ackWait,
			Ask: func(context.Context) (handoff.Answer, bool) { return 0, false },
			End: func(Verdict) {},
		}, nil
	})
}

func agree() bool { return true }

// attend is Attend to the end of the stream.
func attend(ctx context.Context, conn net.Conn, t Task) Result {
	over := make(chan Result, 1)
	Attend(ctx, conn, t, func(res Result) { over <- res })
	return <-over
}

// serve is Serve to the end of the stream.
func serve(ctx context.Context, user net.Conn, next func(context.Context) (*Offering, error)) Result {
	over := make(chan Result, 1)
	Serve(ctx, user, next, func(res Result) { over <- res })
	return <-over
}

// readable reports whether c has something to read, or has ended, and takes none
// of it.
func readable(c syscall.Conn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	there := false
	_ = raw.Control(func(fd uintptr) { there = pollReadable(fd) })
	return there
}
