package service

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/wire"
)

// patience bounds every wait of a test; only a failure lasts that long.
const patience = 10 * time.Second

func listen(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// serve runs p and returns a channel that is closed when Serve is done.
func serve(ctx context.Context, p *Public, handle func(net.Conn)) chan struct{} {
	done := make(chan struct{})
	go func() { p.Serve(ctx, handle); close(done) }()
	return done
}

func TestPublic(t *testing.T) {
	p := NewPublic(listen(t), func(trouble Trouble) { t.Error(trouble.Text) })
	release := make(chan struct{})
	done := serve(t.Context(), p, func(c net.Conn) {
		defer c.Close()
		io.WriteString(c, "hello")
		<-release
	})
	for range 3 { // users do not wait for each other
		c, err := net.Dial("tcp", p.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		_, err = io.ReadFull(c, make([]byte, 5))
		require.NoError(t, err)
	}
	require.NoError(t, p.Close())
	select {
	case <-done:
		t.Fatal("Serve left while users were in")
	default:
	}
	close(release)
	<-done
	_, err := net.Dial("tcp", p.Addr().String())
	require.Error(t, err)
}

func TestPublicEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := serve(ctx, NewPublic(listen(t), func(Trouble) {}), func(c net.Conn) { c.Close() })
	cancel()
	<-done
}

func TestDialTarget(t *testing.T) {
	l := listen(t)
	conn, reason, err := DialTarget(t.Context(), l.Addr().String(), patience)
	require.NoError(t, err)
	require.Zero(t, reason)
	conn.Close()
	l.Close()
	_, reason, err = DialTarget(t.Context(), l.Addr().String(), patience)
	require.Error(t, err)
	require.Equal(t, wire.ResetRefused, reason)
	_, reason, _ = DialTarget(t.Context(), "no-such-host.invalid:80", patience)
	require.Equal(t, wire.ResetUnreachable, reason)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, reason, _ = DialTarget(ctx, l.Addr().String(), patience)
	require.Equal(t, wire.ResetShutdown, reason)
}

func TestDialReason(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want wire.ResetReason
	}{
		{syscall.ECONNREFUSED, wire.ResetRefused},
		{syscall.EHOSTUNREACH, wire.ResetUnreachable},
		{syscall.EMFILE, wire.ResetInternal},
		{syscall.ENFILE, wire.ResetInternal},
		{os.ErrDeadlineExceeded, wire.ResetTimeout},
		{&net.DNSError{IsNotFound: true}, wire.ResetUnreachable},
		{errors.New("other"), wire.ResetUnreachable},
	} {
		require.Equal(t, tt.want, DialReason(t.Context(), &net.OpError{Op: "dial", Err: tt.err}), "%v", tt.err)
	}
}
