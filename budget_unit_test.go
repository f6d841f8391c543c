package pool

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// lazily are pools that look after themselves only when something wakes them.
const lazily = 30 * time.Second

// TestBudgetTellsOfWhatBecomesIdle: a connection that nobody waits for when it is
// made, or when its check is over, makes way at once for a key whose taker waits.
func TestBudgetTellsOfWhatBecomesIdle(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		var dials atomic.Int64
		g := newGroup(t, s, GroupConfig{MaxOpen: 2, New: func(key string) (LocalConfig, error) {
			return LocalConfig{
				Dial: func(ctx context.Context) (net.Conn, error) {
					if dials.Add(1) == 2 {
						time.Sleep(time.Second)
					}
					return s.dial(ctx)
				},
				Check: func(context.Context, *Conn) error {
					time.Sleep(500 * time.Millisecond)
					return nil
				},
				CheckEvery: 10 * time.Second, MinInterval: lazily, MaxInterval: lazily,
				Limits: Limits{MinCap: map[string]int{"ahead": 2}[key] - 1, MaxOpen: 2},
			}, nil
		}}, LocalConfig{})
		begun := time.Now()
		a := mustGetKey(t, g, "ahead") // one for the taker, one ahead that takes a second
		synctest.Wait()
		require.Equal(t, 2, g.Stats().Open)
		b := mustGetKey(t, g, "b")
		require.Equal(t, time.Second, time.Since(begun), "as soon as that has come")
		require.EqualValues(t, 1, g.Stats().Keys["ahead"].Closed[ClosedMadeWay])

		g.Put(b)
		time.Sleep(10*time.Second + 200*time.Millisecond)
		checking := g.Stats().Keys["b"].Checking
		require.Equal(t, 1, checking, "at %v", time.Since(begun))
		begun = time.Now()
		c := mustGetKey(t, g, "c")
		require.Less(t, time.Since(begun), 500*time.Millisecond)
		require.Positive(t, time.Since(begun))
		require.EqualValues(t, 1, g.Stats().Keys["b"].Closed[ClosedMadeWay])
		g.Put(a)
		g.Put(c)
	})
}

// part makes a share without a pool, and its planner.
func (b *budget) part(t *testing.T, minCap int) (*share, *Planner) {
	p, err := NewPlanner(PlannerConfig{Limits: Limits{MinCap: minCap, MaxCap: 10}})
	require.NoError(t, err)
	return &share{budget: b, wake: make(chan struct{}, 1)}, p
}

// queueOf is a queue of so many takers who have been waiting since then.
func queueOf(n int, since time.Time) *waiterQueue {
	q := new(waiterQueue)
	for range n {
		q.push(&waiter{since: since, turn: since})
	}
	return q
}

// TestBudgetGrantsAreForTakers: what was granted to one who has left goes to the
// next who waits, not to a dial ahead of takers.
func TestBudgetGrantsAreForTakers(t *testing.T) {
	b := &budget{max: 1}
	first, firstPlanner := b.part(t, 3)
	second, secondPlanner := b.part(t, 1)
	third, thirdPlanner := b.part(t, 1)
	now := time.Now()
	require.Equal(t, 1, first.plan(now, firstPlanner, Stock{Waiting: 1}, queueOf(1, now)).Dials)
	require.Equal(t, 1, second.plan(now, secondPlanner, Stock{Waiting: 1}, queueOf(1, now)).short)
	now = now.Add(time.Millisecond)
	require.Equal(t, 1, third.plan(now, thirdPlanner, Stock{Waiting: 1}, queueOf(1, now)).short)

	first.dialFailed()
	require.Equal(t, 1, second.granted)
	require.Len(t, second.wake, 1)
	require.Zero(t, third.granted)
	step := second.plan(now, secondPlanner, Stock{}, queueOf(0, now)) // its taker is gone
	require.Zero(t, step.Dials)
	require.Zero(t, second.granted+second.held+second.wants)
	require.Equal(t, 1, third.granted)
	require.Equal(t, 1, third.plan(now, thirdPlanner, Stock{Waiting: 1}, queueOf(1, now)).Dials)
	require.Equal(t, 1, third.held)
	require.Equal(t, 1, b.open)
	require.Zero(t, b.wanted)
}

// TestBudgetGrantsInTurn: equals in order of arrival, one each; who has more later,
// but not for ever.
func TestBudgetGrantsInTurn(t *testing.T) {
	b := &budget{max: 8}
	now := time.Now()
	all := map[string]*share{}
	served := ""
	take := func(name string, waiting int, since time.Time) {
		s, p := all[name], (*Planner)(nil)
		if s == nil {
			s, p = b.part(t, 1)
			all[name] = s
			s.plan(now, p, Stock{Waiting: waiting}, queueOf(waiting, since))
		}
	}
	take("full", 8, now)
	require.Equal(t, 8, b.open)
	take("a", 3, now)
	take("b", 2, now.Add(time.Millisecond))
	take("c", 1, now.Add(2*time.Millisecond))
	take("late", 1, now.Add(3*shareTurn/2))
	require.Equal(t, 7, b.wanted)
	for range 7 {
		before := map[string]int{}
		for name, s := range all {
			before[name] = s.granted
		}
		all["full"].dialFailed() // gives one place back
		for name, s := range all {
			if s.granted > before[name] {
				served += name + " "
			}
		}
	}
	require.Equal(t, "a b c a b late a ", served)
	require.Zero(t, b.wanted)
	require.Empty(t, b.wanting)
	require.Equal(t, 8, b.open)
}

// TestBudgetHeedsThePace: for a dial that may not begin yet nobody makes room, and
// the planner asks to be asked again when it may.
func TestBudgetHeedsThePace(t *testing.T) {
	p, err := NewPlanner(PlannerConfig{Limits: Limits{MinCap: 1, MaxCap: 1}, MinInterval: 100 * time.Millisecond})
	require.NoError(t, err)
	now := time.Now()
	require.Equal(t, 1, p.Plan(now, Stock{Waiting: 1, shared: true, spare: 1}).Dials)
	p.DialEnded(now, now, DialBrought)
	step := p.Plan(now, Stock{Out: 1, Waiting: 1, shared: true})
	require.Zero(t, step.Dials)
	require.Zero(t, step.short, "the pace has no token")
	require.Equal(t, 25*time.Millisecond, step.Again)
	now = now.Add(110 * time.Millisecond)
	step = p.Plan(now, Stock{Out: 1, Waiting: 1, shared: true})
	require.Zero(t, step.Dials)
	require.Equal(t, 1, step.short)
	require.Greater(t, step.Again, 25*time.Millisecond, "what is short is granted, and tells")
	step = p.Plan(now, Stock{Out: 1, Waiting: 1, shared: true, spare: 1})
	require.Equal(t, 1, step.Dials)
	require.Zero(t, step.short)
}

// TestBudgetPicksOnce: one that was picked to make way, taken by a holder and put
// back before that was done, is not picked twice.
func TestBudgetPicksOnce(t *testing.T) {
	b := &budget{max: 1}
	s, p := b.part(t, 1)
	other, _ := b.part(t, 1)
	now := time.Now()
	e := &entry{share: other, counted: true}
	b.open, other.held = 1, 1
	b.idled(e)
	require.Equal(t, 2, s.plan(now, p, Stock{Waiting: 2}, queueOf(2, now)).short)
	pick := func() *entry {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.nextToLeaveLocked()
	}
	require.Same(t, e, pick())
	b.taken(e)
	require.False(t, other.yields(e, false, now))
	b.idled(e)
	require.Nil(t, pick())
	require.Equal(t, 1, b.leaving)
	b.taken(e)
	other.closed(e)
	other.closed(e)
	require.Zero(t, b.leaving)
	require.Zero(t, other.held)
	require.Equal(t, 1, s.granted)
	require.Equal(t, 1, b.open)
}
