package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestGroupCloseKey: who waits is told so, what is out stays its holder's, and who
// comes next has a new pool.
func TestGroupCloseKey(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		made := 0
		g := newGroup(t, s, GroupConfig{MaxOpen: 3, New: func(string) (LocalConfig, error) {
			made++
			return LocalConfig{Dial: s.dial, Limits: Limits{MinCap: -1, MaxOpen: 1}}, nil
		}}, LocalConfig{})
		old := mustGetKey(t, g, "a")
		waiting := laterKey(g, "a")
		other := mustGetKey(t, g, "b")
		g.Close("a", "never heard of")
		require.ErrorIs(t, (<-waiting).err, ErrClosed)
		require.Equal(t, []string{"b"}, g.Keys())

		now := mustGetKey(t, g, "a")
		require.Equal(t, 3, made)
		answer, err := askLine(old, "still mine")
		require.NoError(t, err)
		require.Equal(t, "still mine", answer)
		stats := g.Stats()
		require.Equal(t, 3, stats.Sum.Out, "one of them is of the pool that was closed")
		require.Equal(t, 1, stats.Keys["a"].Out)
		require.Equal(t, 3, stats.Open)
		g.Put(old)
		synctest.Wait()
		require.Equal(t, 2, s.open(), "closed, not pooled")
		require.Equal(t, 2, g.Stats().Sum.Out)
		require.EqualValues(t, 1, g.Stats().Sum.Closed[ClosedShutdown])
		g.Put(now)
		g.Discard(other, nil)
		require.Empty(t, g.leaving)
	})
}

// TestGroupCloseWhileBuilding waits for the template, and leaves nothing.
func TestGroupCloseWhileBuilding(t *testing.T) {
	for _, fails := range []error{nil, errBroken} {
		for _, keys := range slices.Repeat([][]string{nil, {"a"}}, 20) { // who is first is chance
			inBubble(t, func(t *testing.T, s *lineServer) {
				gate := make(chan struct{})
				g := newGroup(t, s, GroupConfig{New: func(string) (LocalConfig, error) {
					<-gate
					return LocalConfig{Dial: s.dial}, fails
				}}, LocalConfig{})
				waiting := laterKey(g, "a")
				closed := make(chan struct{})
				go func() {
					g.Close(keys...)
					close(closed)
				}()
				synctest.Wait()
				close(gate)
				<-closed
				err := (<-waiting).err
				require.True(t, errors.Is(err, ErrClosed) || fails != nil && errors.Is(err, fails), "%v", err)
				require.Empty(t, g.Keys())
			})
		}
	}
}

// TestGroupGetsNothingOfWhatWasTakenAway: a pool that is made when its key was
// closed already serves nobody, however late its end comes.
func TestGroupGetsNothingOfWhatWasTakenAway(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		gate := make(chan struct{})
		g := newGroup(t, s, GroupConfig{New: func(string) (LocalConfig, error) {
			<-gate
			return LocalConfig{Dial: s.dial}, nil
		}}, LocalConfig{})
		waiting := []<-chan got{laterKey(g, "a"), laterKey(g, "a")}
		g.mu.Lock()
		r := g.rooms["a"]
		require.True(t, g.detachLocked(r))
		g.mu.Unlock()
		close(gate)
		for _, w := range waiting {
			require.ErrorIs(t, (<-w).err, ErrClosed)
		}
		r.end()
		require.Empty(t, g.leaving)
	})
}

// TestGroupDrainWhileTheTemplateFails does not wait for a pool that never is.
func TestGroupDrainWhileTheTemplateFails(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		gate := make(chan struct{})
		g := newGroup(t, s, GroupConfig{New: func(string) (LocalConfig, error) {
			<-gate
			return LocalConfig{}, errBroken
		}}, LocalConfig{})
		waiting := laterKey(g, "a")
		drained := make(chan error, 1)
		go func() { drained <- g.Drain(context.Background(), "a") }()
		synctest.Wait()
		_, err := g.Get(t.Context(), "a")
		require.ErrorIs(t, err, ErrClosed)
		close(gate)
		require.NoError(t, <-drained)
		require.ErrorIs(t, (<-waiting).err, errBroken)
	})
}

// TestGroupClose ends everything, at once and for good; handles that are out can
// still be put back and discarded.
func TestGroupClose(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g := newGroup(t, s, GroupConfig{MaxOpen: 2}, LocalConfig{Limits: noneAhead})
		a, b := mustGetKey(t, g, "a"), mustGetKey(t, g, "b")
		waiting := laterKey(g, "c")
		g.Close()
		require.ErrorIs(t, (<-waiting).err, ErrClosed)
		for _, get := range []func() error{
			func() error { _, err := g.Get(t.Context(), "a"); return err },
			func() error { _, err := g.Fresh(t.Context(), "x"); return err },
			func() error { _, _, err := g.GetAny(t.Context(), RoundRobin, "a", "b"); return err },
			func() error { return g.Do(t.Context(), "a", func(net.Conn) error { return nil }) },
		} {
			require.ErrorIs(t, get(), ErrClosed)
		}
		require.Equal(t, 2, g.Stats().Sum.Out)
		g.Put(a)
		g.Discard(b, errBroken)
		require.Zero(t, g.Stats().Sum.Out)
		require.EqualValues(t, 1, g.Stats().Sum.Closed[ClosedDiscarded])
		g.Close()
		g.Close("a")
		require.NoError(t, g.Drain(t.Context()))
		require.NoError(t, g.Drain(t.Context(), "a"))
	})
}

// TestGroupDrainKey waits for what is out; nobody new gets in until it is over, and
// then there may be a new pool.
func TestGroupDrainKey(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g := newGroup(t, s, GroupConfig{KeepUnused: time.Minute}, LocalConfig{Goodbye: saying("bye")})
		c := mustGetKey(t, g, "a")
		b := mustGetKey(t, g, "b")
		drained := make(chan error, 1)
		go func() { drained <- g.Drain(context.Background(), "a", "a", "unknown") }()
		synctest.Wait()
		_, err := g.Get(t.Context(), "a")
		require.ErrorIs(t, err, ErrClosed)
		require.EqualError(t, err, `key "a": pool closed: it is being drained`)
		time.Sleep(time.Hour)
		require.Empty(t, drained)
		g.Put(b) // others go on
		g.Put(mustGetKey(t, g, "b"))
		g.Put(c)
		require.NoError(t, <-drained)
		require.Positive(t, s.heardOf("bye"))
		require.Equal(t, []string{"b"}, g.Keys())
		g.Put(mustGetKey(t, g, "a"))
	})
}

// TestGroupDrainInVain: when the context ends the error says how many connections
// of which keys, and they stay their holders'.
func TestGroupDrainInVain(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g := newGroup(t, s, GroupConfig{}, LocalConfig{})
		var held []*Conn
		for n, key := range []string{"one", "two", "three", "back"} {
			for range n + 1 {
				held = append(held, mustGetKey(t, g, key))
			}
		}
		for _, c := range held[6:] {
			time.AfterFunc(time.Second, func() { g.Put(c) })
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := g.Drain(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualError(t, err, `connections still in holders' hands: 6 (3 of key "three", 2 of key "two", 1 of key "one"): timed out`)
		_, err = g.Get(t.Context(), "one")
		require.ErrorIs(t, err, ErrClosed)
		for _, c := range held[:6] {
			answer, err := askLine(c, "x")
			require.NoError(t, err)
			require.Equal(t, "x", answer)
		}
		again := make(chan error, 1)
		go func() { again <- g.Drain(context.Background()) }()
		synctest.Wait()
		require.Empty(t, again, "another one waits for them too")
		for _, c := range held[:6] {
			g.Put(c)
		}
		require.NoError(t, <-again)
	})
}

func TestDrainErrorNamesFew(t *testing.T) {
	var rooms []*room
	var left []int
	for i := range 100 {
		rooms, left = append(rooms, &room{key: fmt.Sprint(i)}), append(left, i)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errBroken)
	err := drainError(ctx, rooms, left)
	require.EqualError(t, err, `connections still in holders' hands: 4950 (99 of key "99", 98 of key "98", 97 of key "97", 96 of key "96", 95 of key "95", others of 94 more keys): broken`)
}

// TestGroupSumsNeverRunBackwards, whatever becomes of the pools.
func TestGroupSumsNeverRunBackwards(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g := newGroup(t, s, GroupConfig{MaxKeys: 3, MaxOpen: 4, KeepUnused: time.Second}, LocalConfig{Check: saying("there?")})
		var before Stats
		var held []*Conn
		check := func() {
			now := g.Stats().Sum
			require.Equal(t, now.Created, uint64(now.Idle+now.Checking+now.Out)+sumClosed(now))
			require.Equal(t, len(held), now.Out)
			for _, c := range [][2]uint64{
				{before.Created, now.Created}, {before.HandedOut, now.HandedOut}, {before.Hits, now.Hits}, {before.Waited, now.Waited},
				{before.Dialed, now.Dialed}, {before.Checks, now.Checks}, {sumClosed(before), sumClosed(now)},
				{uint64(before.WaitTime), uint64(now.WaitTime)}, {before.Waits.Count(), now.Waits.Count()},
			} {
				require.LessOrEqual(t, c[0], c[1])
			}
			before = now
		}
		for i := range 50 {
			key := fmt.Sprint(i % 7)
			c := mustGetKey(t, g, key)
			held = append(held, c)
			check()
			switch i % 5 {
			case 0:
				g.Close(key)
			case 1:
				time.Sleep(3 * time.Second)
			}
			synctest.Wait()
			check()
			if len(held) == 2 {
				g.Put(held[0])
				held = held[1:]
				synctest.Wait()
				check()
			}
		}
		g.Put(held[0])
		held = nil
		time.Sleep(time.Minute)
		synctest.Wait()
		check()
		require.EqualValues(t, 50, before.HandedOut)
		require.Zero(t, before.Capacity)
	})
}
