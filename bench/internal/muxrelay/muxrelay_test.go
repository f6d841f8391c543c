package muxrelay

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const patience = 20 * time.Second

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// TestRelay sends through both ends, with an end-of-file in each direction, and
// then takes the tunnel down.
func TestRelay(t *testing.T) {
	tunnel, public, target := listen(t), listen(t), listen(t)
	ends := make(chan error, 2)
	go func() { ends <- Server(tunnel, public) }() // ends with public
	go func() { ends <- Client(tunnel.Addr().String(), target.Addr().String()) }()
	go func() { // ends with target
		for {
			c, err := target.Accept()
			if err != nil {
				return
			}
			said, _ := io.ReadAll(c) // to the user's end-of-file
			c.Write(append([]byte("you said "), said...))
			c.Close()
		}
	}()
	for range 20 {
		user, err := net.Dial("tcp", public.Addr().String())
		require.NoError(t, err)
		user.SetDeadline(time.Now().Add(patience))
		_, err = io.WriteString(user, "hello")
		require.NoError(t, err)
		require.NoError(t, user.(*net.TCPConn).CloseWrite())
		said, err := io.ReadAll(user)
		require.NoError(t, err)
		require.Equal(t, "you said hello", string(said))
		user.Close()
	}
	public.Close()
	for range 2 {
		select {
		case err := <-ends:
			require.Error(t, err)
		case <-time.After(patience):
			require.Fail(t, "an end goes on without the other")
		}
	}
}
