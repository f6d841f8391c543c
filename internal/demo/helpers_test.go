package demo

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// serveOnce takes one connection and one piece of a request, and gives a fixed
// answer.
func serveOnce(t *testing.T, answer string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() { // ends with the connection, or when the listener closes
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		c.Read(make([]byte, 4096))
		io.WriteString(c, answer)
	}()
	return l.Addr().String()
}
