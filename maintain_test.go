package pool

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTakeBelowLowWaterRefillsAtOnce: not at the next interval.
func TestTakeBelowLowWaterRefillsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f farEnd
		p := f.newClientPool(t, ClientConfig{
			Limits: Limits{MinCap: 20, MaxCap: 50}, MinInterval: time.Hour, MaxInterval: time.Hour})
		synctest.Wait()
		start := time.Now()
		for range 16 {
			mustGet(t, p)
		}
		synctest.Wait()
		require.Equal(t, 4, p.Active(), "one that is out may be back in a moment")
		mustGet(t, p)
		synctest.Wait()
		require.Equal(t, 20, p.Active())
		p.Clean()
		synctest.Wait()
		require.Equal(t, 13, p.Active(), "as far as the pace allows")
		require.Equal(t, 50, f.count())
		require.Zero(t, time.Since(start))
	})
}

// TestMissingIsDialedForWithinTwoIntervals: those that stay out are replaced,
// also above the low-water mark.
func TestMissingIsDialedForWithinTwoIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f farEnd
		p := f.newClientPool(t, ClientConfig{Limits: Limits{MinCap: 20, MaxCap: 50}, MaxInterval: time.Second})
		time.Sleep(time.Minute) // of the bubble's clock
		for range 10 {
			mustGet(t, p)
		}
		synctest.Wait()
		require.Equal(t, 10, p.Active())
		time.Sleep(2 * time.Second)
		require.Equal(t, 20, p.Active())
	})
}

// TestRecyclingDialsNothing: what goes out and comes back is not replaced.
func TestRecyclingDialsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f farEnd
		p := f.newClientPool(t, ClientConfig{Limits: Limits{MinCap: 20, MaxCap: 50}})
		synctest.Wait()
		for range 1000 {
			out := []*Conn{mustGet(t, p), mustGet(t, p), mustGet(t, p)}
			time.Sleep(7 * time.Millisecond) // of the bubble's clock
			for _, c := range out {
				p.Put(c.ID(), c)
			}
		}
		require.Equal(t, 20, f.count())
		require.Equal(t, 20, p.Capacity())
	})
}

func TestDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f farEnd
		p := f.newClientPool(t, ClientConfig{
			Limits: Limits{MinCap: 4, MaxCap: 30}, MinInterval: time.Second, MaxInterval: time.Second})
		synctest.Wait()
		require.Equal(t, 4, p.Active())
		start := time.Now()
		p.Demand(5)
		p.Demand(-1)
		synctest.Wait()
		require.Equal(t, 9, p.Active(), "for takers at the other end, at once")
		require.Zero(t, time.Since(start))
		time.Sleep(time.Second) // of the bubble's clock
		synctest.Wait()
		require.Greater(t, p.Capacity(), 4, "and it adapts to them")
		p.Demand(1000)
		time.Sleep(time.Minute)
		require.Equal(t, 30, p.Active(), "never beyond MaxCap")
		require.Equal(t, 30, f.count())
	})
}

// TestDemandOfALostPool: takers wait at the other end although some look idle
// here. For them a dial begins at once, within MaxCap.
func TestDemandOfALostPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f farEnd
		p := f.newClientPool(t, ClientConfig{
			Limits: Limits{MinCap: 8, MaxCap: 8}, MinInterval: time.Minute, MaxInterval: time.Minute})
		time.Sleep(10 * time.Minute) // of the bubble's clock
		start := time.Now()
		mustGet(t, p).Close()
		mustGet(t, p).Close()
		synctest.Wait()
		require.Equal(t, 6, p.Active(), "what may be back in a moment is not dialed for")
		p.Demand(1)
		synctest.Wait()
		require.Equal(t, 7, p.Active())
		p.Demand(5)
		synctest.Wait()
		require.Equal(t, 8, p.Active(), "never beyond MaxCap")
		require.Zero(t, time.Since(start))
	})
}

func TestDialsArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f farEnd
		p := f.newClientPool(t, ClientConfig{
			Limits: Limits{MinCap: 10, MaxCap: 10}, MinInterval: time.Second, MaxInterval: time.Second})
		for range 1000 {
			synctest.Wait()
			p.Clean()
			time.Sleep(10 * time.Millisecond) // of the bubble's clock
		}
		require.LessOrEqual(t, f.count(), 10+10*10)
		require.GreaterOrEqual(t, f.count(), 90)
	})
}

func TestParallelDialsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f farEnd
		f.answer = func(_ context.Context, n int) (net.Conn, error) {
			time.Sleep(time.Second) // of the bubble's clock
			return f.connect(n), nil
		}
		p := f.newClientPool(t, ClientConfig{Limits: Limits{MinCap: 100, MaxCap: 100}, MaxDials: 12})
		start := time.Now()
		for p.Active() < 100 {
			time.Sleep(time.Second)
		}
		require.Equal(t, 12, f.most)
		require.LessOrEqual(t, time.Since(start), 10*time.Second, "8, then 12 a second")
	})
}

// TestCapacityFollowsDemand: takers that wait make it grow fast, failures and
// quiet make it shrink, and the interval shortens and lengthens.
func TestCapacityFollowsDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f farEnd
		slowly := func(_ context.Context, n int) (net.Conn, error) {
			time.Sleep(40 * time.Millisecond) // of the bubble's clock
			return f.connect(n), nil
		}
		f.script(slowly)
		p := f.newClientPool(t, ClientConfig{Limits: Limits{MinCap: 4, MaxCap: 64}})
		time.Sleep(time.Minute)
		require.Equal(t, 4, p.Capacity())
		require.Equal(t, time.Second, p.Interval(), "nothing to do")

		for range 5 { // bursts of 32, which are served long before the next step
			var waiters []<-chan got
			for range 32 {
				waiters = append(waiters, laterGet(p))
			}
			for _, w := range waiters {
				(<-w).conn.Close()
			}
			time.Sleep(1100 * time.Millisecond)
		}
		require.GreaterOrEqual(t, p.Capacity(), 32, "those who waited would not, the next time")
		require.NotZero(t, p.Stats().WaitTime)

		f.script(refuse)
		p.Clean()
		time.Sleep(3 * time.Second)
		require.Equal(t, 100*time.Millisecond, p.Interval(), "nearly nothing is idle")
		time.Sleep(10 * time.Minute)
		require.Equal(t, 4, p.Capacity(), "the server cannot take so many")

		f.script(nil)
		time.Sleep(2 * backoffCeiling)
		p.Demand(60)
		time.Sleep(2 * time.Second)
		require.GreaterOrEqual(t, p.Capacity(), 60)
		time.Sleep(20 * time.Minute)
		require.Equal(t, 4, p.Capacity(), "given back slowly")
		require.Equal(t, time.Second, p.Interval())
	})
}

// TestPollingIsNoDemand: who asks again and again without waiting does not
// make the pool grow, or spin.
func TestPollingIsNoDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := farEnd{answer: hang}
		p := f.newClientPool(t, ClientConfig{Limits: Limits{MinCap: 4, MaxCap: 64}})
		for range 2000 {
			_, _, err := p.ServerGet(0)
			require.ErrorIs(t, err, ErrTimeout)
			time.Sleep(time.Millisecond) // of the bubble's clock
		}
		require.Equal(t, 4, f.count())
		require.Equal(t, 4, p.Capacity())
	})
}

// TestDialFailuresAreToldOnce: some dials succeed and others fail, over and
// over, as at a full descriptor table. The log hears of it once, and once when
// it is over.
func TestDialFailuresAreToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f farEnd
		log := make(eventLog, 1<<12)
		f.script(func(ctx context.Context, n int) (net.Conn, error) {
			if n%2 == 1 {
				return nil, errNoRoute
			}
			return f.connect(n), nil
		})
		p := f.newClientPool(t, ClientConfig{Limits: Limits{MinCap: 8, MaxCap: 64}, MaxInterval: time.Second, Logger: log})
		for range 200 {
			mustGet(t, p).Close()
			time.Sleep(100 * time.Millisecond)
		}
		require.Greater(t, f.count(), 200)
		require.Contains(t, log.takeLine(), "WARN Pool: dial failed")
		require.Empty(t, log.takeLine())
		f.script(nil)
		for range 20 {
			mustGet(t, p).Close()
			time.Sleep(time.Second)
		}
		require.Equal(t, "INFO Pool: dialing works again", log.takeLine())
		require.Empty(t, log.takeLine())
	})
}

// TestSurplus: what a client dialed for a taker and does not need any more is
// given up by the server, which knows that nobody has it.
func TestSurplus(t *testing.T) {
	allModes(t, func(t *testing.T, mode TLSMode) {
		gate := make(chan string, 1) // where to dial next
		p := openPair(t, mode, ServerConfig{Limits: Limits{MaxIdle: 1}}, ClientConfig{
			Limits: Limits{MinCap: 1, MaxCap: 1},
			Dial: func(ctx context.Context) (net.Conn, error) {
				select {
				case addr := <-gate:
					return new(net.Dialer).DialContext(ctx, "tcp", addr)
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}})
		gate <- p.listener.Addr().String()
		p.full(t, 1)
		server, client := p.take(t)
		p.client.Demand(1)
		require.Eventually(t, func() bool { return p.client.Stats().Dialing > 0 }, 10*time.Second, time.Millisecond)
		p.client.Put(client.ID(), client)
		p.server.Put(server.ID(), server)
		p.full(t, 1)
		gate <- p.listener.Addr().String()
		require.Eventually(t, func() bool { return p.client.Stats().Created == 2 }, 10*time.Second, time.Millisecond)
		p.full(t, 1)
		require.EqualValues(t, 1, p.server.Stats().Closed[ClosedFull])
		left, _ := p.take(t)
		require.NotEqual(t, server.ID(), left.ID(), "the one that was idle for longest is closed")
	})
}
