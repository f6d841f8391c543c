package tunnel

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// TestCrowd: those for whom there is no place wait in order. When nobody left
// for the whole wait, those behind are told at once.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(1, time.Second)
		enter := func() <-chan bool {
			in := make(chan bool, 1)
			go func() { in <- c.enter(t.Context()) }()
			synctest.Wait()
			return in
		}
		require.True(t, <-enter())
		first, second := enter(), enter()
		time.Sleep(900 * time.Millisecond)
		c.leave()
		require.True(t, <-first)
		third := enter() // the crowd is full since now
		require.Empty(t, second)
		time.Sleep(100 * time.Millisecond)
		require.False(t, <-second, "it has waited for its second")
		begun := time.Now()
		require.False(t, <-third)
		require.Equal(t, 900*time.Millisecond, time.Since(begun))
		require.False(t, <-enter(), "there was no place for a second")
		require.Equal(t, 900*time.Millisecond, time.Since(begun))
		c.leave()
		require.True(t, <-enter())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.False(t, c.enter(ctx))
	})
}

// TestCrowdOfAnotherSize: who waits gets the places that are added; who is
// inside stays where some are taken away.
func TestCrowdOfAnotherSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(1, time.Minute)
		var in atomic.Int32
		for range 4 {
			go func() {
				if c.enter(t.Context()) {
					in.Add(1)
				}
			}()
		}
		now := func() int32 { synctest.Wait(); return in.Load() }
		require.EqualValues(t, 1, now())
		c.set(3, c.wait)
		require.EqualValues(t, 3, now())
		c.set(1, c.wait)
		c.leave()
		c.leave()
		require.EqualValues(t, 3, now(), "one is inside, as many as there may be")
		c.leave()
		require.EqualValues(t, 4, now())
		c.set(0, c.wait)
		c.leave()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.False(t, c.enter(ctx))
	})
}

func TestLimitsOfDescriptors(t *testing.T) {
	for _, tt := range []struct{ descriptors, streams, handshakes int }{
		{20, 2, 8}, {128, 48, 16}, {1024, 384, 128}, {1 << 16, 24576, 1024}, {1 << 20, (1<<20 - maxKept) / 2, 1024},
	} {
		require.Equal(t, tt.streams, streamLimit(tt.descriptors), tt.descriptors)
		require.Equal(t, tt.handshakes, handshakeLimit(tt.descriptors), tt.descriptors)
		require.LessOrEqual(t, 2*streamLimit(tt.descriptors)+handshakeLimit(tt.descriptors), tt.descriptors)
	}
	require.Positive(t, descriptorLimit())
}

// TestFullServer: a user for whom there is no place is served when another
// leaves, and a service that is full leaves room for the others.
func TestFullServer(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.MaxStreams, cfg.MaxStreamsPerService = 3, 2 })
	target := startTarget(t, echo)
	g := startClient(t, h, target, func(cfg *ClientConfig) {
		cfg.PoolMin, cfg.PoolMax = 3, 3
		cfg.Services = append(cfg.Services, Service{Name: "other", Target: target})
	})
	talk := func(i int, word string) func() {
		user := dialUser(t, g.public(i))
		send(t, user, word)
		return func() {
			t.Helper()
			receive(t, user, word)
			user.Close()
		}
	}
	one, two := talk(0, "one"), talk(0, "two")
	eventually(t, func() bool { return h.Stats().Open == 2 }, h.log.text)
	three := talk(0, "three") // of one service there may be two
	other := talk(1, "other")
	other()
	eventually(t, func() bool { return h.Stats().Open == 2 }, h.log.text)
	one()
	three()
	two()
}

// TestFullForLong: who finds no place for as long as a user may wait is reset,
// and it is counted and told once.
func TestFullForLong(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.MaxStreams, cfg.Wait = 1, 100*time.Millisecond })
	g := startClient(t, h, startTarget(t, echo), func(cfg *ClientConfig) { cfg.PoolMin, cfg.PoolMax = 1, 1 })
	user := g.dial(t)
	send(t, user, "in")
	receive(t, user, "in")
	for range 3 {
		turnsAway(t, g.public(0))
	}
	require.EqualValues(t, 3, h.Stats().Overflow)
	t.Log(h.log.find(t, "No place for user"))
	require.Equal(t, 1, h.log.count("No place for user"))
	user.Close()
	eventually(t, func() bool { return h.Stats().Open == 0 }, h.log.text)
	works(t, g)
}

// TestFullClient: it turns users away that it has no room for, and keeps their
// connections.
func TestFullClient(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	g := startClient(t, h, startTarget(t, echo), func(cfg *ClientConfig) { cfg.MaxStreams, cfg.PoolMin, cfg.PoolMax = 1, 2, 2 })
	user := g.dial(t)
	send(t, user, "in")
	receive(t, user, "in")
	turnsAway(t, g.public(0))
	t.Log(g.log.find(t, "is turned away"))
	user.Close()
	eventually(t, func() bool { return g.Stats().Open == 0 }, g.log.text)
	works(t, g)
}

// turnsAway wants a user to be turned away, which may be as early as in the dial.
func turnsAway(t *testing.T, addr string) {
	t.Helper()
	user, err := net.DialTimeout("tcp", addr, patience)
	if err == nil {
		defer user.Close()
		user.SetDeadline(time.Now().Add(patience))
		_, err = user.Read(make([]byte, 1))
	}
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

// TestPoolBudget: the pools of all clients together stay within the limit, and
// a user still finds a connection.
func TestPoolBudget(t *testing.T) {
	const limit = 10
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.MaxPooled = limit })
	target := startTarget(t, echo)
	greedy := h.clientConfig(target)
	greedy.PoolMin, greedy.PoolMax, greedy.Carriers = 64, 64, -1
	first := runClient(t, greedy)
	eventually(t, func() bool { return first.Stats().Pool.Idle == limit }, first.log.text)
	eventually(t, func() bool { return first.Stats().Pool.DialFailures > 3 }, first.log.text)
	idle := 0
	for _, p := range h.Stats().Pools {
		idle += p.Idle
	}
	require.Equal(t, limit, idle)
	eventually(t, func() bool { return first.Services()[0].Up }, first.log.text)
	works(t, first)
}

// TestSharesOfKeys: where there are several keys, the holder of one cannot take
// what all share.
func TestSharesOfKeys(t *testing.T) {
	other := pool.NewKey()
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) {
		cfg.Keys = append(cfg.Keys, other)
		cfg.MaxSessions, cfg.MaxStreams, cfg.MaxStreamsPerService, cfg.MaxPooled = 2, 2, 2, 8
		cfg.Wait = 100 * time.Millisecond
	})
	target := startTarget(t, echo)
	greedy := h.clientConfig(target)
	greedy.PoolMin, greedy.PoolMax, greedy.Carriers = 64, 64, -1
	first := runClient(t, greedy)
	eventually(t, func() bool { return first.Stats().Pool.Idle == 4 && first.Stats().Pool.DialFailures > 3 }, first.log.text)
	t.Log(runClient(t, h.clientConfig(target)).log.find(t, "the server has 1 clients with this key, which is its share"))
	user := first.dial(t)
	send(t, user, "in")
	receive(t, user, "in")
	turnsAway(t, first.public(0))

	cfg := h.clientConfig(target)
	cfg.Key, cfg.PoolMin, cfg.PoolMax = other, 2, 2
	works(t, runClient(t, cfg).up(t))
}
