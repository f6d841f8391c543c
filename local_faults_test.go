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
