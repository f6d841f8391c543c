package pool

import (
	"context"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// userTimeoutNow asks the kernel, below whatever conn is made of.
func userTimeoutNow(t *testing.T, c *Conn) time.Duration {
	t.Helper()
	require.NotNil(t, c.entry.raw)
	return userTimeoutOf(c.entry.raw)
}

// TestUserTimeout: it is there while nobody has a stream on the connection, and
// not while one runs. A client's is over with its first.
func TestUserTimeout(t *testing.T) {
	const keepAlive, want = 7 * time.Second, 14 * time.Second
	allModes(t, func(t *testing.T, mode TLSMode) {
		for name, await := range map[string]bool{"lifted at the hand-out": false, "lifted by the holder": true} {
			t.Run(name, func(t *testing.T) {
				p := openPair(t, mode,
					ServerConfig{KeepAlive: keepAlive, AwaitRunning: await},
					ClientConfig{KeepAlive: keepAlive, AwaitRunning: await, Limits: Limits{MinCap: 1, MaxCap: 1}})
				onClient := want // until its first use: then the last bytes may wait for a reader
				for range 2 {    // uses of the same connection
					p.full(t, 1)
					require.Equal(t, want, userTimeoutOf(p.server.idle.newest.raw))
					require.Equal(t, onClient, userTimeoutOf(p.client.idle.newest.raw))
					server, client := p.take(t)
					for c, before := range map[*Conn]time.Duration{server: want, client: onClient} {
						if await {
							require.Equal(t, before, userTimeoutNow(t, c))
							c.MarkRunning()
						}
						require.Zero(t, userTimeoutNow(t, c))
						c.MarkRunning() // changes nothing
						require.Zero(t, userTimeoutNow(t, c))
					}
					p.client.Put(client.ID(), client)
					p.server.Put(server.ID(), server)
					server.MarkRunning() // a dead handle
					onClient = 0
				}
				p.full(t, 1)
				server, client := p.take(t) // put back without having run
				p.client.Put(client.ID(), client)
				p.server.Put(server.ID(), server)
				p.full(t, 1)
				require.Equal(t, want, userTimeoutOf(p.server.idle.newest.raw))
				require.Zero(t, userTimeoutOf(p.client.idle.newest.raw))
				require.EqualValues(t, 1, p.server.Stats().Created)
			})
		}
	})
}

// TestUserTimeoutOfAWaiter: what is delivered to somebody who waits is handed
// out as all others are.
func TestUserTimeoutOfAWaiter(t *testing.T) {
	p := openPair(t, TLSPlain, ServerConfig{KeepAlive: time.Minute}, ClientConfig{KeepAlive: time.Minute, Limits: Limits{MinCap: 1, MaxCap: 1}})
	p.full(t, 1)
	server, client := p.take(t)
	waiting := make(chan *Conn, 1)
	go func() { // ends with the Put
		c, _ := p.server.Get(context.Background())
		waiting <- c
	}()
	require.Eventually(t, func() bool { return p.server.Stats().Waiting == 1 }, 10*time.Second, time.Millisecond)
	p.client.Put(client.ID(), client)
	p.server.Put(server.ID(), server)
	require.Zero(t, userTimeoutNow(t, <-waiting))
}

// TestUserTimeoutOff with the keep-alive probes, whose like it is.
func TestUserTimeoutOff(t *testing.T) {
	p := openPair(t, TLSPlain, ServerConfig{KeepAlive: -1, AwaitRunning: true}, ClientConfig{KeepAlive: -1, AwaitRunning: true, Limits: Limits{MinCap: 1, MaxCap: 1}})
	p.full(t, 1)
	server, client := p.take(t)
	require.Zero(t, userTimeoutNow(t, server))
	server.MarkRunning()
	p.client.Put(client.ID(), client)
	p.server.Put(server.ID(), server)
	p.full(t, 1)
}

// TestReaderThatStops: the kernel ends a connection whose peer does not read,
// until its holder says that a stream runs on it: then the reader may take its
// time.
func TestReaderThatStops(t *testing.T) {
	const size = 32 << 20 // more than the sockets buffer
	p := openPair(t, TLSPlain,
		ServerConfig{KeepAlive: 500 * time.Millisecond, AwaitRunning: true},
		ClientConfig{KeepAlive: 500 * time.Millisecond, AwaitRunning: true, Limits: Limits{MinCap: 2, MaxCap: 2}})
	p.full(t, 2)
	doomed, _ := p.take(t)
	server, client := p.take(t)
	server.MarkRunning()
	client.MarkRunning()
	sent := make(chan error, 1)
	go func() { // ends when the reader below goes on, or with the connection
		_, err := server.Write(make([]byte, size))
		sent <- err
	}()
	_, err := doomed.Write(make([]byte, size))
	require.ErrorIs(t, err, syscall.ETIMEDOUT)
	require.Empty(t, sent)
	got, err := io.CopyN(io.Discard, client, size)
	require.NoError(t, err, "after %d bytes", got)
	require.NoError(t, <-sent)
}
