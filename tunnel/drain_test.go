package tunnel

import (
	"context"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

func contextFor(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

func isDone(done chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// TestDrain: when either end is told to stop, a stream in progress finishes and
// nobody new is let in.
func TestDrain(t *testing.T) {
	for _, who := range []string{"server", "client"} {
		t.Run(who, func(t *testing.T) {
			inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
				h := startServer(t, mode)
				g := startClient(t, h, startTarget(t, echo))
				public := g.public(0)
				c := g.dial(t)
				send(t, c, "before")
				receive(t, c, "before")
				stop, done := h.stop, h.done
				if who == "client" {
					stop, done = g.stop, g.done
				}
				stop()
				if who == "server" {
					g.log.find(t, "The server says goodbye: the server is stopping")
				} else {
					h.log.find(t, `"guest" is stopping: "the client is stopping"`)
				}
				eventually(t, func() bool {
					extra, err := net.Dial("tcp", public)
					if err == nil {
						extra.Close()
					}
					return err != nil
				}, func() string { return "the public port is still open" })
				send(t, c, "after")
				receive(t, c, "after")
				require.False(t, isDone(done))
				require.NoError(t, c.CloseWrite())
				rest, err := io.ReadAll(c)
				require.NoError(t, err)
				require.Empty(t, rest)
				c.Close()
				<-done
			})
		})
	}
}

// TestDrainWithoutStreams ends at once and says goodbye all the same, once.
func TestDrainWithoutStreams(t *testing.T) {
	h := startServer(t, pool.TLSSelfSigned)
	g := startClient(t, h, "localhost:1")
	g.stop()
	<-g.done
	h.log.find(t, `"guest" is stopping`)
	h.log.find(t, `"guest" at `)

	g = startClient(t, h, "localhost:1")
	h.stop()
	<-h.done
	g.log.find(t, "says goodbye: the server is stopping")
	g.log.find(t, "refused the connection: is tunnel-server running there")
	require.Equal(t, 1, g.log.count("goodbye"))
}

// TestDrainLimit cuts what is left, with a reset on both ends.
func TestDrainLimit(t *testing.T) {
	for _, who := range []string{"server", "client"} {
		t.Run(who, func(t *testing.T) {
			const limit = 200 * time.Millisecond
			h := startServer(t, pool.TLSSelfSigned, func(cfg *ServerConfig) { cfg.Drain = limit })
			g := startClient(t, h, startTarget(t, echo), func(cfg *ClientConfig) { cfg.Drain = limit })
			c := g.dial(t)
			send(t, c, "x")
			receive(t, c, "x")
			stop, done, log := h.stop, h.done, h.log
			if who == "client" {
				stop, done, log = g.stop, g.done, g.log
			}
			begun := time.Now()
			stop()
			<-done
			require.GreaterOrEqual(t, time.Since(begun), limit)
			require.Less(t, time.Since(begun), limit+3*time.Second)
			_, err := io.ReadAll(c)
			require.ErrorIs(t, err, syscall.ECONNRESET)
			log.find(t, "1 streams did not finish and are cut")
		})
	}
}

// TestCloseDuringDrain: a second signal ends at once.
func TestCloseDuringDrain(t *testing.T) {
	for _, who := range []string{"server", "client"} {
		t.Run(who, func(t *testing.T) {
			h := startServer(t, pool.TLSSelfSigned)
			g := startClient(t, h, startTarget(t, echo))
			c := g.dial(t)
			send(t, c, "x")
			receive(t, c, "x")
			begun := time.Now()
			if who == "server" {
				h.stop()
				h.log.find(t, "Stopping: 1 streams have 30s to finish")
				h.Close()
				<-h.done
			} else {
				g.stop()
				g.log.find(t, "Stopping: 1 streams have 5s to finish")
				g.Close()
				<-g.done
			}
			require.Less(t, time.Since(begun), 3*time.Second)
			_, err := io.ReadAll(c)
			require.ErrorIs(t, err, syscall.ECONNRESET)
		})
	}
}

// TestDrainTurnsWaitingUsersAway instead of holding them for their whole wait.
func TestDrainTurnsWaitingUsersAway(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	h.joinAndRegister(t, "lazy")
	c := dialUser(t, h.Stats().Services[0].Addr)
	eventually(t, func() bool { return h.Stats().Pools[0].Waiting == 1 }, h.log.text)
	begun := time.Now()
	h.stop()
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	<-h.done
	require.Less(t, time.Since(begun), h.cfg.Load().Wait/2)
}

func TestRunTwice(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	g := startClient(t, h, "localhost:1")
	require.ErrorContains(t, h.Run(t.Context()), "called before")
	require.ErrorContains(t, g.Run(t.Context()), "called before")
	g.Close()
	g.Close()
	h.Close()
	h.Close()

	s, err := NewServer(ServerConfig{Listen: "127.0.0.1:0", Keys: []pool.Key{h.key}})
	require.NoError(t, err)
	require.NoError(t, s.Close()) // before Run
	require.NoError(t, s.Run(t.Context()))
	cl, err := NewClient(h.clientConfig("localhost:1"))
	require.NoError(t, err)
	cl.Close()
	require.NoError(t, cl.Run(t.Context()))
}

// TestDrainProgress: what is left is told now and then, when it has changed.
func TestDrainProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var active tally
		for range 3 {
			active.add()
		}
		for _, after := range []time.Duration{time.Second, 2 * time.Second, 14 * time.Second} {
			time.AfterFunc(after, active.done)
		}
		log, begun := new(recorder), time.Now()
		drainStreams(t.Context(), &active, 30*time.Second, log)
		require.Equal(t, 14*time.Second, time.Since(begun))
		require.Equal(t, "INFO Stopping: 3 streams have 30s to finish\n"+
			"INFO Stopping: 1 streams are left, and have 25s", log.text())

		active.add()
		log, begun = new(recorder), time.Now()
		drainStreams(t.Context(), &active, 30*time.Second, log)
		require.Equal(t, 30*time.Second, time.Since(begun))
		require.Equal(t, "INFO Stopping: 1 streams have 30s to finish\n"+
			"WARN Stopping: 1 streams did not finish and are cut", log.text())
	})
}
