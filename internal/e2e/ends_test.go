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

// through is a tunnel in one mode: it leads a user to a target.
type through func(target func(*net.TCPConn)) (user *net.TCPConn)

// inPlainAndTLS runs a test in mode 0 and in mode 1.
func inPlainAndTLS(t *testing.T, test func(t *testing.T, tunnel through)) {
	for _, mode := range []string{"0", "1"} {
		t.Run("mode "+mode, func(t *testing.T) {
			t.Parallel()
			test(t, func(handle func(*net.TCPConn)) *net.TCPConn {
				_, address, key := startServer(t, "--tls", mode)
				target := listenHere(t)
				serve(t, target, func(c net.Conn) { handle(c.(*net.TCPConn)) })
				client := startClient(t, key, address, "--tls", mode, "-R", "0:"+target.Addr().String())
				user, err := net.Dial("tcp", client.line(`is up: (\S+) leads to`)[1])
				require.NoError(t, err)
				t.Cleanup(func() { user.Close() })
				user.SetDeadline(time.Now().Add(patience))
				return user.(*net.TCPConn)
			})
		})
	}
}

// large is more than all buffers on the way hold.
var large = bytes.Repeat([]byte("0123456789abcdef"), 4<<20)

// TestUserHalfCloses: the answer after a user's end is whole.
func TestUserHalfCloses(t *testing.T) {
	t.Parallel()
	inPlainAndTLS(t, func(t *testing.T, tunnel through) {
		user := tunnel(func(target *net.TCPConn) {
			if request, err := io.ReadAll(target); err == nil {
				target.Write(request)
			}
		})
		_, err := user.Write(large)
		require.NoError(t, err)
		require.NoError(t, user.CloseWrite())
		requireLarge(t, user)
	})
}

// TestTargetHalfCloses: what a user says after the target's end is whole.
func TestTargetHalfCloses(t *testing.T) {
	t.Parallel()
	inPlainAndTLS(t, func(t *testing.T, tunnel through) {
		type received struct {
			bytes []byte
			err   error
		}
		heard := make(chan received, 1)
		user := tunnel(func(target *net.TCPConn) {
			target.Write(large)
			target.CloseWrite()
			request, err := io.ReadAll(target)
			heard <- received{request, err}
		})
		requireLarge(t, user)
		_, err := user.Write(large)
		require.NoError(t, err)
		require.NoError(t, user.CloseWrite())
		got := soon(t, heard)
		require.NoError(t, got.err)
		require.Equal(t, sha256.Sum256(large), sha256.Sum256(got.bytes))
	})
}

// soon waits for what must come.
func soon[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		require.FailNow(t, "nothing reached the target")
		panic("not reached")
	}
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
	inPlainAndTLS(t, func(t *testing.T, tunnel through) {
		seen := make(chan error, 1)
		user := tunnel(func(target *net.TCPConn) {
			io.WriteString(target, firstHalf)
			_, err := io.Copy(io.Discard, target)
			seen <- err
		})
		_, err := io.ReadFull(user, make([]byte, len(firstHalf)))
		require.NoError(t, err)
		_, err = io.WriteString(user, "half of a request")
		require.NoError(t, err)
		reset(user)
		requireReset(t, soon(t, seen))
	})
}

// TestTargetResets: the user sees a reset, in the middle and after its own end.
func TestTargetResets(t *testing.T) {
	t.Parallel()
	for name, ends := range map[string]bool{"in the middle": false, "after the user's end": true} {
		t.Run(name, func(t *testing.T) {
			inPlainAndTLS(t, func(t *testing.T, tunnel through) {
				user := tunnel(func(target *net.TCPConn) {
					io.WriteString(target, firstHalf)
					if ends {
						io.ReadAll(target)
					} else {
						io.ReadFull(target, make([]byte, 1))
					}
					reset(target)
				})
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
