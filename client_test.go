package pool

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClientFillsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f farEnd
		p := f.newClientPool(t, ClientConfig{Limits: Limits{MinCap: 20, MaxCap: 50}})
		start := time.Now()
		synctest.Wait()
		require.Zero(t, time.Since(start))
		require.Equal(t, 20, p.Active())
		require.Equal(t, 20, f.count())
		c, err := p.ClientGet("conn0007")
		require.NoError(t, err)
		requireEcho(t, c, f.peers["conn0007"])
		require.EqualValues(t, 20, p.Stats().Dialed)
		time.Sleep(time.Minute) // of the bubble's clock
		require.Equal(t, 21, f.count(), "a full pool dials no more")
	})
}

// TestFailingDialerIsNotHammered: at most 20 attempts in 5 seconds, whoever
// asks meanwhile.
func TestFailingDialerIsNotHammered(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			f := farEnd{answer: refuse}
			p := f.newClientPool(t, ClientConfig{})
			for range 500 {
				p.ServerGet(0)
				p.Demand(100)
				p.Clean()
				time.Sleep(10 * time.Millisecond) // of the bubble's clock
			}
			require.LessOrEqual(t, f.count(), 20)
			require.Greater(t, f.count(), initialDials, "it tries again")
			require.EqualValues(t, f.count(), p.Stats().DialFailures)
			_, _, err := p.ServerGet(time.Second)
			require.ErrorIs(t, err, ErrTimeout)
		})
	}
}

func dialState(p *Pool) (failures, parallel int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.client.planner.backoff.failures, p.client.planner.parallel
}

// TestBackoffGrowsAndResets: a burst is one failure, and a success ends it all.
func TestBackoffGrowsAndResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := farEnd{answer: refuse}
		log := make(eventLog, 1<<12)
		p := f.newClientPool(t, ClientConfig{Logger: log, Limits: Limits{MinCap: 10, MaxCap: 50}})
		synctest.Wait()
		require.Equal(t, initialDials, f.count())
		failures, _ := dialState(p)
		require.Equal(t, 1, failures, "a burst counts once")
		time.Sleep(100 * time.Millisecond) // of the bubble's clock
		require.Greater(t, f.count(), initialDials)
		_, parallel := dialState(p)
		require.Equal(t, 1, parallel, "one at a time while it fails")

		time.Sleep(10 * time.Minute)
		tried := f.count()
		require.Less(t, tried, 100)
		f.script(nil)
		time.Sleep(backoffCeiling)
		require.Equal(t, 10, p.Active())
		failures, parallel = dialState(p)
		require.Zero(t, failures)
		require.GreaterOrEqual(t, parallel, initialDials)
		levels := map[string]int{}
		for len(log) > 0 {
			levels[(<-log).level]++
		}
		require.Equal(t, map[string]int{"WARN": 1, "DEBUG": tried - 1, "INFO": 1}, levels, "an outage is two lines")

		f.script(refuse)
		p.Clean()
		synctest.Wait()
		last := f.count()
		time.Sleep(100 * time.Millisecond)
		require.Greater(t, f.count(), last, "the pause is short again")
	})
}

// TestHangingDialHoldsUpNoOther: and it is given up after HandshakeTimeout.
func TestHangingDialHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f farEnd
		f.answer = func(ctx context.Context, n int) (net.Conn, error) {
			if n%5 == 0 && n < 20 {
				return hang(ctx, n)
			}
			return f.connect(n), nil
		}
		p := f.newClientPool(t, ClientConfig{Limits: Limits{MinCap: 20, MaxCap: 50}, HandshakeTimeout: 4 * time.Second})
		start := time.Now()
		synctest.Wait()
		require.Equal(t, 16, p.Active())
		require.Equal(t, 4, p.Stats().Dialing)
		for range 40 {
			mustGet(t, p)
		}
		require.Zero(t, time.Since(start), "takers waited for a dial that hangs")
		time.Sleep(4*time.Second - 1) // of the bubble's clock
		require.Equal(t, 4, p.Stats().Dialing)
		time.Sleep(time.Second)
		require.Zero(t, p.Stats().Dialing)
		require.EqualValues(t, 4, p.Stats().DialFailures)
		require.GreaterOrEqual(t, p.Active(), 20)
	})
}

// TestSilentServerIsGivenUp: the timeout covers the ID too, on any connection.
func TestSilentServerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peers := make(chan net.Conn, 1000)
		f := farEnd{answer: func(context.Context, int) (net.Conn, error) {
			conn, peer := net.Pipe()
			peers <- peer
			return brokenDeadlines{conn}, nil
		}}
		p := f.newClientPool(t, ClientConfig{HandshakeTimeout: 4 * time.Second})
		time.Sleep(4 * time.Second) // of the bubble's clock
		synctest.Wait()
		for range initialDials {
			requireClosedBy(t, <-peers)
		}
		require.EqualValues(t, initialDials, p.Stats().DialFailures)
	})
}

// TestSeedDialerThatHangs: it knows no context, so it is left behind.
func TestSeedDialerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		release := make(chan struct{})
		peers := make(chan net.Conn, 1000)
		p := NewClientPool(5, 20, time.Second, 5*time.Second, 0, "0", "", func() (net.Conn, error) {
			calls.Add(1)
			<-release
			conn, peer := net.Pipe()
			peers <- peer
			return conn, nil
		})
		go p.ClientManager() // ends with Close
		time.Sleep(defaultHandshakeTimeout + time.Millisecond)
		require.EqualValues(t, 5, p.Stats().DialFailures, "given up after 10 s")
		time.Sleep(10 * time.Hour)
		require.EqualValues(t, 2*defaultMaxDials, calls.Load(), "calls that hang are bounded")
		start := time.Now()
		p.Close()
		require.Zero(t, time.Since(start))
		close(release)
		for range calls.Load() {
			requireClosedBy(t, <-peers) // what arrives late is closed
		}
	})
}

// TestLateArrival: a connection that a dial brings after Close is closed, and
// Close waits for the dial.
func TestLateArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peers := make(chan net.Conn, initialDials)
		var f farEnd
		f.answer = func(_ context.Context, n int) (net.Conn, error) {
			time.Sleep(3 * time.Second) // heeding nothing, in the bubble's time
			conn := f.connect(n)
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, peer := range f.peers {
				peers <- peer
			}
			clear(f.peers)
			return conn, nil
		}
		p := f.newClientPool(t, ClientConfig{})
		synctest.Wait()
		start := time.Now()
		p.Close()
		require.Equal(t, 3*time.Second, time.Since(start))
		for range initialDials {
			requireClosedBy(t, <-peers)
		}
		s := p.Stats()
		require.Zero(t, s.Created+s.DialFailures)
		require.Zero(t, s.Dialing)
	})
}

func TestDrainOfAClientPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f farEnd
		f.answer = func(ctx context.Context, n int) (net.Conn, error) {
			if n >= 4 {
				return hang(ctx, n)
			}
			return f.connect(n), nil
		}
		p := f.newClientPool(t, ClientConfig{})
		c := mustGet(t, p)
		drained := make(chan error, 1)
		go func() { drained <- p.Drain(context.Background()) }() // ends with c's
		synctest.Wait()
		require.Zero(t, p.Active())
		before := f.count()
		time.Sleep(time.Minute) // of the bubble's clock
		require.Equal(t, before, f.count(), "a draining pool does not dial")
		p.Put(c.ID(), c)
		require.NoError(t, <-drained)
	})
}

// TestHostileServer: what a server may send instead of a fresh, well-formed ID
// brings nothing into the pool and does not make it spin.
func TestHostileServer(t *testing.T) {
	for name, says := range map[string]string{
		"a malformed ID": "no space", "bytes": "\x00\x01\x02\x03\x04\x05\x06\x07", "half an ID": "half", "nothing": "",
		"the same ID again": "SAMEsame",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f farEnd
				f.answer = func(context.Context, int) (net.Conn, error) {
					conn, peer := net.Pipe()
					go func() { // ends with the pool's end
						peer.Write([]byte(says))
						if len(says) == idSize {
							io.Copy(io.Discard, peer)
						}
						peer.Close()
					}()
					return conn, nil
				}
				p := f.newClientPool(t, ClientConfig{})
				time.Sleep(5 * time.Second) // of the bubble's clock
				require.LessOrEqual(t, f.count(), 30)
				want := 0
				if name == "the same ID again" {
					want = 1
				}
				require.EqualValues(t, want, p.Stats().Created)
				require.Equal(t, want, p.Active())
				require.GreaterOrEqual(t, p.Stats().DialFailures, uint64(8-want))
			})
		})
	}
}

func TestDialerThatReturnsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := farEnd{answer: func(context.Context, int) (net.Conn, error) { return nil, nil }}
		log := make(eventLog, 100)
		p := f.newClientPool(t, ClientConfig{Logger: log})
		require.Contains(t, (<-log).text, "neither a connection nor an error")
		time.Sleep(time.Second) // of the bubble's clock
		require.NotZero(t, p.Stats().DialFailures)
	})
}

func TestRunOfAClosedClientStartsNothing(t *testing.T) {
	var f farEnd
	p := f.newIdlePool(t, ClientConfig{})
	p.Close()
	require.True(t, errors.Is(p.Run(t.Context()), ErrClosed))
	require.Zero(t, f.count())
}
