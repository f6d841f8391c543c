package e2e

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/testnet"
)

// listening is the server's line with its address.
const listening = `tunnel-server .* listens on (\S+), TLS mode \d, key [0-9a-f]{16} from `

// startServer runs a tunnel-server with a key of its own on a free port.
func startServer(t *testing.T, args ...string) (server *process, address, key string) {
	t.Helper()
	key = pool.NewKey().Text()
	server = newHost(t, key).start("tunnel-server", append([]string{"--listen", "127.0.0.1:0", "--bind", "127.0.0.1"}, args...)...)
	return server, server.line(listening)[1], key
}

// startClient runs a tunnel-client on a host of its own.
func startClient(t *testing.T, key, address string, args ...string) *process {
	t.Helper()
	return newHost(t, key).start("tunnel-client", append([]string{"--server", address}, args...)...)
}

// freePort finds a free port that stays free until the test wants it taken.
func freePort(t *testing.T) string {
	t.Helper()
	port, err := testnet.FreePort()
	require.NoError(t, err)
	return strconv.Itoa(int(port))
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	return port
}

// web is a page to publish.
func web(t *testing.T, page string) (address string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, page) }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func fetch(t *testing.T, address string) string {
	t.Helper()
	c := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := c.Get("http://" + address)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return string(body)
}

// halves is a target that greets, and says the rest when it is told to.
type halves struct {
	address string
	finish  func()
}

const (
	firstHalf  = "the first half, "
	secondHalf = "and the second"
)

func newHalves(t *testing.T) halves {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go_, finish := context.WithCancel(context.Background())
	t.Cleanup(finish)
	t.Cleanup(func() { l.Close() })
	go func() { // ends when the listener closes
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends with finish
				defer c.Close()
				io.WriteString(c, firstHalf)
				<-go_.Done()
				io.WriteString(c, secondHalf)
			}()
		}
	}()
	return halves{address: l.Addr().String(), finish: finish}
}

// user connects to a public port and reads what the target says first.
func user(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	first := make([]byte, len(firstHalf))
	_, err = io.ReadFull(c, first)
	require.NoError(t, err)
	require.Equal(t, firstHalf, string(first))
	return c
}

func newKey() string { return pool.NewKey().Text() }
