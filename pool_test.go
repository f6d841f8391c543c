package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMostRecentlyProvenFirst(t *testing.T) {
	p := newServerCore(t, 8)
	a, _ := admit(t, p)
	b, _ := admit(t, p)
	c, _ := admit(t, p)
	require.Equal(t, 3, p.Active())

	first := mustGet(t, p)
	require.Equal(t, c, first.ID())
	p.Put(c, first)
	require.Equal(t, c, mustGet(t, p).ID(), "put back is proven too")
	require.Equal(t, b, mustGet(t, p).ID())
	require.Equal(t, a, mustGet(t, p).ID())
	require.Zero(t, p.Active())
	require.Equal(t, 3, p.Stats().Out)
}

func TestWaitersAreServedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServerCore(t, 8)
		first, second, third := laterGet(p), laterGet(p), laterGet(p)
		require.Equal(t, 3, p.Stats().Waiting)
		for _, waiter := range []<-chan got{first, second, third} {
			id, _ := admit(t, p)
			require.Zero(t, p.Active(), "it went past a waiter")
			g := <-waiter
			require.NoError(t, g.err)
			require.Equal(t, id, g.conn.ID())
		}
		require.Zero(t, p.Stats().Waiting)
		require.EqualValues(t, 3, p.Stats().Waited)
	})
}

func TestPutGoesStraightToAWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServerCore(t, 1)
		id, peer := admit(t, p)
		c := mustGet(t, p)
		waiter := laterGet(p)
		time.Sleep(5 * time.Second) // of the bubble's clock
		p.Put(id, c)
		require.Zero(t, p.Active())
		g := <-waiter
		require.NoError(t, g.err)
		require.Equal(t, id, g.conn.ID())
		require.NotSame(t, c, g.conn, "each hand-out is a handle of its own")
		requireEcho(t, g.conn, peer)
		require.Equal(t, 5*time.Second, p.Stats().WaitTime)
		require.EqualValues(t, 2, p.Stats().HandedOut)
	})
}

// TestFullPoolServesWaiters: whoever waits is served, also when every idle
// place is promised.
func TestFullPoolServesWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServerCore(t, 1)
		admit(t, p)
		c := mustGet(t, p)
		require.True(t, p.Reserve(c))
		waiter := laterGet(p)
		id, _ := admit(t, p)
		require.Equal(t, id, (<-waiter).conn.ID())
		p.Put(c.ID(), c)
		require.Equal(t, 1, p.Active())
	})
}

func TestGetGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServerCore(t, 1)
		start := time.Now()
		_, _, err := p.ServerGet(2 * time.Second)
		require.ErrorIs(t, err, ErrTimeout)
		require.Equal(t, 2*time.Second, time.Since(start))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = p.Get(ctx)
		require.ErrorIs(t, err, ErrTimeout)
		_, err = p.Get(ctx)
		require.ErrorIs(t, err, ErrTimeout, "the context was spent before")

		reason := errors.New("the user left")
		ctx, leave := context.WithCancelCause(t.Context())
		waiter := later(func() (*Conn, error) { return p.Get(ctx) })
		leave(reason)
		require.ErrorIs(t, (<-waiter).err, reason)

		s := p.Stats()
		require.EqualValues(t, 3, s.Waited)
		require.EqualValues(t, 3, s.Timeouts)
		require.Equal(t, 3*time.Second, s.WaitTime)
		require.Zero(t, s.Waiting)
	})
}

// TestGivingUpStrandsNothing lets a connection arrive in the instant in which
// its waiter gives up, and another waiter come in it.
func TestGivingUpStrandsNothing(t *testing.T) {
	served, idle := 0, 0
	for range 300 {
		synctest.Test(t, func(t *testing.T) {
			p := newServerCore(t, 1)
			arrived := make(chan struct{})
			go func() { // ends after a second
				time.Sleep(time.Second)
				admit(t, p)
				close(arrived)
			}()
			_, c, err := p.ServerGet(time.Second)
			<-arrived
			requireBooks(t, p)
			if err == nil {
				served++
				require.Equal(t, 1, p.Stats().Out)
				c.Close()
				return
			}
			idle++
			require.ErrorIs(t, err, ErrTimeout)
			require.Equal(t, 1, p.Active())
			require.NotNil(t, mustGet(t, p))
		})
	}
	t.Logf("served %d times, idle %d times", served, idle)
}

func TestGivingUpInTheMiddleOfTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServerCore(t, 8)
		var waiters []<-chan got
		var leave []context.CancelFunc
		for range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			leave = append(leave, cancel)
			waiters = append(waiters, later(func() (*Conn, error) { return p.Get(ctx) }))
		}
		for _, i := range []int{2, 0, 4} {
			leave[i]()
			require.ErrorIs(t, (<-waiters[i]).err, context.Canceled)
		}
		for _, i := range []int{1, 3} {
			id, _ := admit(t, p)
			require.Equal(t, id, (<-waiters[i]).conn.ID())
			leave[i]()
		}
		admit(t, p)
		require.Equal(t, 1, p.Active())
	})
}

func TestWaitOfZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServerCore(t, 1)
		start := time.Now()
		for _, wait := range []time.Duration{0, -time.Hour} {
			_, c, err := p.ServerGet(wait)
			require.ErrorIs(t, err, ErrTimeout)
			require.Nil(t, c)
			_, err = p.OutgoingGet("AAAAAAAA", wait)
			require.ErrorIs(t, err, ErrTimeout)
		}
		require.Zero(t, time.Since(start))
		require.Zero(t, p.Stats().Waited)
		id, _ := admit(t, p)
		gotID, c, err := p.IncomingGet(0)
		require.NoError(t, err)
		require.Equal(t, id, gotID)
		p.Put(id, c)
		_, err = p.OutgoingGet(id, 0)
		require.NoError(t, err)
	})
}

func TestTakeWaitsForAnIDOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newClientCore(t, 8)
		any := laterGet(p)
		mine, second, other := laterTake(p, "AAAAAAAA"), laterTake(p, "AAAAAAAA"), laterTake(p, "BBBBBBBB")
		require.Equal(t, 4, p.Stats().Waiting)

		peer := arrive(t, p, "AAAAAAAA")
		g := <-mine
		require.Equal(t, "AAAAAAAA", g.conn.ID(), "who asks for it by name comes before who takes any")
		requireEcho(t, g.conn, peer)
		p.Put("AAAAAAAA", g.conn)
		require.Equal(t, "AAAAAAAA", (<-second).conn.ID(), "out, then put")

		arrive(t, p, "CCCCCCCC")
		require.Equal(t, "CCCCCCCC", (<-any).conn.ID())
		arrive(t, p, "BBBBBBBB")
		require.Equal(t, "BBBBBBBB", (<-other).conn.ID())
		require.Empty(t, p.takers)
	})
}

func TestTakeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newClientCore(t, 8)
		start := time.Now()
		for _, id := range []string{"", "short", "too long!", "AAAA AAA", "AAAAAAA\n", "AAAAAAA\x80", "AAAAAAA\x00"} {
			_, err := p.ClientGet(id)
			require.ErrorIs(t, err, ErrBadID, "%q", id)
		}
		_, err := p.Take(t.Context(), ID{})
		require.ErrorIs(t, err, ErrBadID)

		arrive(t, p, "AAAAAAAA")
		c, err := p.ClientGet("AAAAAAAA")
		require.NoError(t, err)
		waiter := laterTake(p, "AAAAAAAA")
		c.Close()
		require.ErrorIs(t, (<-waiter).err, ErrNotFound, "its holder closed it")
		_, err = p.ClientGet("AAAAAAAA")
		require.ErrorIs(t, err, ErrNotFound, "it was here and is gone")
		require.ErrorContains(t, err, "AAAAAAAA")
		require.Zero(t, time.Since(start), "it waited")

		_, err = p.ClientGet("BBBBBBBB")
		require.ErrorIs(t, err, ErrTimeout)
		require.Equal(t, defaultPairTimeout, time.Since(start))
		_, err = p.OutgoingGet("BBBBBBBB", 7*time.Second)
		require.ErrorIs(t, err, ErrTimeout)
		require.Equal(t, defaultPairTimeout+7*time.Second, time.Since(start))
		require.Empty(t, p.takers, "nothing stays of those who gave up")

		spent, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = p.Take(spent, ID([]byte("BBBBBBBB")))
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestServerGetOnAClientPool(t *testing.T) {
	p := newClientCore(t, 8)
	arrive(t, p, "AAAAAAAA")
	id, c, err := p.ServerGet(0)
	require.NoError(t, err)
	require.Equal(t, "AAAAAAAA", id)
	require.Equal(t, "AAAAAAAA", c.(*Conn).ID())
}

// TestGoneIsBounded: the IDs of connections that ended are remembered, the
// latest of them.
func TestGoneIsBounded(t *testing.T) {
	var g goneSet
	id := func(i int) ID { return ID([]byte(fmt.Sprintf("%08d", i))) }
	for i := range 3 * goneMemory {
		g.add(id(i))
		g.add(id(i))
	}
	require.Len(t, g.set, goneMemory)
	require.Len(t, g.ring, goneMemory)
	require.False(t, g.has(id(2*goneMemory-1)))
	for i := 2 * goneMemory; i < 3*goneMemory; i++ {
		require.True(t, g.has(id(i)))
	}
}

func TestOnWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []int
		p := keep(t)(NewServer(ServerConfig{OnWait: func(waiting int) { asked = append(asked, waiting) }}))
		admit(t, p)
		mustGet(t, p)
		_, _, err := p.ServerGet(0)
		require.ErrorIs(t, err, ErrTimeout)
		require.Empty(t, asked, "nobody waited")
		laterGet(p)
		laterGet(p)
		require.Equal(t, []int{1, 2}, asked)
		p.Close()
	})
}

func TestAdmitRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServerCore(t, 1)
		id, _ := admit(t, p)
		offer := func(p *Pool) (net.Conn, error) {
			peer, conn := net.Pipe()
			return peer, p.Admit(t.Context(), conn)
		}
		peer, err := offer(p)
		require.ErrorIs(t, err, ErrFull)
		requireEnded(t, peer)
		require.Equal(t, map[RejectReason]uint64{RejectFull: 1}, p.Stats().Rejected)

		_, err = p.ClientGet(id)
		require.NoError(t, err)
		start := time.Now()
		peer, conn := net.Pipe() // a peer that does not read, and no deadlines
		require.Error(t, p.Admit(t.Context(), brokenDeadlines{conn}))
		require.Equal(t, defaultHandshakeTimeout, time.Since(start))
		requireEnded(t, peer)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, conn = net.Pipe()
		require.ErrorIs(t, p.Admit(ctx, conn), context.DeadlineExceeded)
		require.Equal(t, defaultHandshakeTimeout+time.Second, time.Since(start))
		require.Zero(t, p.admitting)

		p.Close()
		peer, err = offer(p)
		require.ErrorIs(t, err, ErrClosed)
		requireEnded(t, peer)

		peer, err = offer(newClientCore(t, 1))
		require.ErrorContains(t, err, "client pool")
		requireEnded(t, peer)
	})
}

// TestAdmissionOutlivesItsWaiter: a place beyond MaxCap is a waiter's, and
// gone with it.
func TestAdmissionOutlivesItsWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServerCore(t, 1)
		admit(t, p)
		c := mustGet(t, p)
		require.True(t, p.Reserve(c))
		ctx, cancel := context.WithCancel(t.Context())
		waiter := later(func() (*Conn, error) { return p.Get(ctx) })
		peer, conn := net.Pipe()
		done := make(chan error, 1)
		go func() { done <- p.Admit(context.Background(), conn) }() // ends with the read below
		synctest.Wait()
		require.Equal(t, 1, p.admitting)
		cancel()
		require.ErrorIs(t, (<-waiter).err, context.Canceled)
		_, err := peer.Read(make([]byte, idSize))
		require.NoError(t, err)
		require.ErrorIs(t, <-done, ErrFull)
		requireEnded(t, peer)
	})
}
