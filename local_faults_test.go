package pool

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWaitReadySeesChecked: what comes back from a check counts for who waits to
// see so many idle.
func TestWaitReadySeesChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan error)
		p := newLocal(t, newLineServer(t, nil), LocalConfig{
			Limits: Limits{MinCap: 2, MaxOpen: 2}, CheckEvery: 10 * time.Second, CheckTimeout: time.Hour,
			Check: func(context.Context, *Conn) error { return <-goOn },
		})
		time.Sleep(11 * time.Second)
		require.Equal(t, 1, p.Stats().Checking)
		ready := make(chan error, 1)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		go func() { ready <- p.WaitReady(ctx, 2) }() // ends with the second check
		synctest.Wait()
		require.Empty(t, ready)
		goOn <- nil
		goOn <- nil
		require.NoError(t, <-ready)
	})
}

// TestDrainWaitsForLastGoodbye: the goodbye of the last one that is put back during
// a drain belongs to it, however fast the drain ends.
func TestDrainWaitsForLastGoodbye(t *testing.T) {
	for range 10 {
		s := newLineServer(t, nil)
		p := newLocal(t, s, LocalConfig{Limits: Limits{MaxOpen: 1}, Goodbye: saying("bye")})
		c := mustGet(t, p)
		drained := make(chan error, 1)
		go func() { drained <- p.Drain(context.Background()) }() // ends with the Put
		var looking sync.WaitGroup
		for range 4 { // so that who wants the lock has to wait for it
			looking.Go(func() {
				for len(drained) == 0 {
					p.Stats()
				}
			})
		}
		require.Eventually(t, func() bool { return !p.Ready() }, 10*time.Second, 10*time.Microsecond)
		p.Put(c.ID(), c)
		looking.Wait()
		require.NoError(t, <-drained)
		require.Equal(t, 1, s.heardOf("bye"))
	}
}

// ticketServer is a TLS server of echoes, whose clients get session tickets.
func ticketServer(t *testing.T, network string) (LocalConfig, *atomic.Int64) {
	ca := newAuthority(t, "server.example")
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := tls.Listen(network, address, &tls.Config{Certificates: ca.server.Certificates})
	require.NoError(t, err)
	var accepted atomic.Int64
	var running sync.WaitGroup
	running.Go(func() { // ends with the listener; the connections with their pools
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			running.Go(func() {
				io.Copy(c, c)
				c.Close()
			})
		}
	})
	t.Cleanup(running.Wait)
	t.Cleanup(func() { l.Close() })
	return LocalConfig{
		Network: network, Address: l.Addr().String(), Limits: Limits{MinCap: 3, MaxOpen: 3},
		TLS: &tls.Config{RootCAs: ca.client.RootCAs, ServerName: "server.example", ClientSessionCache: tls.NewLRUClientSessionCache(10)},
	}, &accepted
}

// TestSessionTickets: what a TLS server says to TLS is no sign of a broken
// connection; what it says to nobody is.
func TestSessionTickets(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		for _, swept := range []bool{true, false} {
			t.Run(fmt.Sprint(network, ", swept ", swept), func(t *testing.T) {
				cfg, accepted := ticketServer(t, network)
				p := keep(t)(NewLocal(cfg))
				require.NoError(t, p.WaitReady(t.Context(), 3))
				p.mu.Lock()
				var raws []syscall.RawConn
				for e := p.idle.newest; e != nil; e = e.next {
					raws = append(raws, e.raw)
				}
				p.mu.Unlock()
				quiet := func() (n int) {
					for _, raw := range raws {
						if probe(raw) == livenessQuiet {
							n++
						}
					}
					return n
				}
				if swept { // the sweep reads them
					require.Eventually(t, func() bool { return quiet() == 3 }, 10*time.Second, time.Millisecond)
				}
				conns := []*Conn{mustGet(t, p), mustGet(t, p), mustGet(t, p)}
				require.Zero(t, sumClosed(p.Stats()))
				require.EqualValues(t, 3, accepted.Load())
				for i, c := range conns {
					answer, err := askLine(c, fmt.Sprint(i))
					require.NoError(t, err)
					require.Equal(t, fmt.Sprint(i), answer)
				}
				_, err := conns[0].Write([]byte("twice")) // an answer is left over
				require.NoError(t, err)
				require.Eventually(t, func() bool { return probe(conns[0].entry.raw) == livenessReadable }, 10*time.Second, time.Millisecond)
				for _, c := range conns {
					p.Put(c.ID(), c)
				}
				require.Equal(t, map[CloseReason]uint64{ClosedDead: 1}, p.Stats().Closed)
			})
		}
	}
}

// TestOwnEndIsSeen: where what Setup built on a connection met its end, nobody gets
// the connection, also where there is no socket to look at.
func TestOwnEndIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLineServer(t, nil)
		p := newLocal(t, s, LocalConfig{Limits: Limits{MaxOpen: 1}, Setup: func(_ context.Context, c *Conn) error {
			go func() { // ends with the connection
				for err := error(nil); err == nil; _, err = c.Read(make([]byte, 1)) {
				}
			}()
			return nil
		}})
		synctest.Wait()
		s.mu.Lock()
		s.live[0].Close()
		s.mu.Unlock()
		synctest.Wait()
		c := mustGet(t, p)
		require.Equal(t, 2, s.dials())
		c.Close()
	})
}

// TestLeftoverUnderTLS: a late answer that TLS holds already is nobody's, whoever
// of the two handles read there.
func TestLeftoverUnderTLS(t *testing.T) {
	cfg, _ := ticketServer(t, "tcp")
	cfg.Limits = Limits{MaxOpen: 1}
	cfg.Setup = func(_ context.Context, c *Conn) error {
		c.SetValue(c)
		return nil
	}
	p := keep(t)(NewLocal(cfg))
	c := mustGet(t, p)
	built, _ := ValueOf[*Conn](c)
	answer, err := askLine(built, "in time\nlate")
	require.NoError(t, err)
	require.Equal(t, "in time", answer)
	p.Put(c.ID(), c)
	require.Equal(t, map[CloseReason]uint64{ClosedUnfit: 1}, p.Stats().Closed)
	c = mustGet(t, p)
	built, _ = ValueOf[*Conn](c)
	_, err = askLine(built, "in time")
	require.NoError(t, err)
	p.Put(c.ID(), c)
	require.Equal(t, 1, p.Active())
}

// TestHookPanics: a hook that panics in its caller's goroutine leaves no connection
// behind, and no place taken.
func TestHookPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLineServer(t, nil)
		var bad atomic.Bool
		p := newLocal(t, s, LocalConfig{Limits: Limits{MaxOpen: 1}, CheckAtGet: -1, CheckEvery: -1,
			Setup: func(context.Context, *Conn) error { return nil },
			Check: func(context.Context, *Conn) error {
				if bad.Load() {
					panic("gone wrong")
				}
				return nil
			},
		})
		p.Put(mustPut(t, p))
		bad.Store(true)
		require.PanicsWithValue(t, "gone wrong", func() { p.Get(t.Context()) })
		bad.Store(false)
		require.Zero(t, p.Stats().Out)
		c := mustGet(t, p)
		synctest.Wait()
		require.Equal(t, 2, s.dials())
		require.Equal(t, 1, s.open())
		c.Close()
	})
}

// TestSetupEndsWithPool: what the pool's end, or the caller's, cut short is no
// failure of the server's.
func TestSetupEndsWithPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLocal(t, newLineServer(t, nil), LocalConfig{Setup: func(ctx context.Context, _ *Conn) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		ctx, cancel := context.WithCancel(t.Context())
		fresh := make(chan error, 1)
		go func() { // ends with cancel
			_, err := p.Fresh(ctx)
			fresh <- err
		}()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-fresh, context.Canceled)
		p.Close()
		require.Zero(t, p.Stats().SetupFailures)
		require.Zero(t, p.Stats().DialFailures)
	})
}
