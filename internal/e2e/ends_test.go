package e2e

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// inPlainAndTLS runs a test over a tunnel in mode 0 and in mode 1.
func inPlainAndTLS(t *testing.T, handle func(*net.TCPConn), test func(t *testing.T, user *net.TCPConn)) {
	for _, mode := range []string{"0", "1"} {
		t.Run("mode "+mode, func(t *testing.T) {
			t.Parallel()
			_, address, key := startServer(t, "--tls", mode)
			target := listenHere(t)
			serve(t, target, func(c net.Conn) { handle(c.(*net.TCPConn)) })
			client := startClient(t, key, address, "--tls", mode, "-R", "0:"+target.Addr().String())
			public := client.line(`is up: (\S+) leads to`)[1]
			user, err := net.Dial("tcp", public)
			require.NoError(t, err)
			defer user.Close()
			user.SetDeadline(time.Now().Add(patience))
			test(t, user.(*net.TCPConn))
		})
	}
}

// large is more than all buffers on the way hold.
var large = bytes.Repeat([]byte("0123456789abcdef"), 2<<20)

// TestUserHalfCloses: the answer after a user's end is whole.
func TestUserHalfCloses(t *testing.T) {
	t.Parallel()
	inPlainAndTLS(t, func(target *net.TCPConn) {
		if request, err := io.ReadAll(target); err == nil {
			target.Write(request)
		}
	}, func(t *testing.T, user *net.TCPConn) {
		_, err := user.Write(large)
		require.NoError(t, err)
		require.NoError(t, user.CloseWrite())
		requireLarge(t, user)
	})
}

// TestTargetHalfCloses: what a user says after the target's end is whole.
func TestTargetHalfCloses(t *testing.T) {
	t.Parallel()
	type received struct {
		bytes []byte
		err   error
	}
	got := make(chan received, 2)
	inPlainAndTLS(t, func(target *net.TCPConn) {
		target.Write(large)
		target.CloseWrite()
		request, err := io.ReadAll(target)
		got <- received{request, err}
	}, func(t *testing.T, user *net.TCPConn) {
		requireLarge(t, user)
		_, err := user.Write(large)
		require.NoError(t, err)
		require.NoError(t, user.CloseWrite())
		select {
		case r := <-got:
			require.NoError(t, r.err)
			require.Equal(t, sha256.Sum256(large), sha256.Sum256(r.bytes))
		case <-time.After(patience):
			require.Fail(t, "the user's end did not reach the target")
		}
	})
}

func requireLarge(t *testing.T, from io.Reader) {
	t.Helper()
	got, err := io.ReadAll(from)
	require.NoError(t, err)
	require.Equal(t, sha256.Sum256(large), sha256.Sum256(got))
}

// TestUserResets: the target sees a reset, not an end.
func TestUserResets(t *testing.T) {
	t.Parallel()
	seen := make(chan error, 2)
	inPlainAndTLS(t, func(target *net.TCPConn) {
		io.WriteString(target, firstHalf)
		_, err := io.Copy(io.Discard, target)
		seen <- err
	}, func(t *testing.T, user *net.TCPConn) {
		_, err := io.ReadFull(user, make([]byte, len(firstHalf)))
		require.NoError(t, err)
		_, err = io.WriteString(user, "half of a request")
		require.NoError(t, err)
		reset(user)
		select {
		case err := <-seen:
			requireReset(t, err)
		case <-time.After(patience):
			require.Fail(t, "the reset did not reach the target")
		}
	})
}

// TestTargetResets: the user sees a reset, also after its own end.
func TestTargetResets(t *testing.T) {
	t.Parallel()
	for name, ends := range map[string]bool{"in the middle": false, "after the user's end": true} {
		t.Run(name, func(t *testing.T) {
			inPlainAndTLS(t, func(target *net.TCPConn) {
				io.WriteString(target, firstHalf)
				wanted := 1
				if ends {
					wanted = 2 // never: it reads to the end
				}
				io.ReadFull(target, make([]byte, wanted))
				reset(target)
			}, func(t *testing.T, user *net.TCPConn) {
				_, err := io.ReadFull(user, make([]byte, len(firstHalf)))
				require.NoError(t, err)
				_, err = user.Write([]byte{1})
				require.NoError(t, err)
				if ends {
					require.NoError(t, user.CloseWrite())
				}
				_, err = io.ReadAll(user)
				requireReset(t, err)
			})
		})
	}
}

// reset closes a connection so that the other end sees a reset.
func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

func requireReset(t *testing.T, err error) {
	t.Helper()
	require.True(t, errors.Is(err, syscall.ECONNRESET), "want a reset, not %v", err)
}
