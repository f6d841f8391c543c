package pool

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// any3 takes a connection for one of three keys.
func any3(t testing.TB, g *Group, pick Pick) (string, *Conn) {
	t.Helper()
	key, c, err := g.GetAny(t.Context(), pick, "a", "b", "c")
	require.NoError(t, err)
	require.Equal(t, key, c.pool.room.key)
	return key, c
}

// TestGetAnyInTurn: each key has its turn, also when calls for different keys mix,
// and when many come at once.
func TestGetAnyInTurn(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g := newGroup(t, s, GroupConfig{}, LocalConfig{})
		var order string
		for range 9 {
			key, c := any3(t, g, RoundRobin)
			order += key
			g.Put(c)
			_, other, err := g.GetAny(t.Context(), RoundRobin, "x", "y")
			require.NoError(t, err)
			g.Put(other)
		}
		require.Equal(t, "abcabcabc", order)
		stats := g.Stats()
		require.Less(t, max(stats.Keys["x"].HandedOut, stats.Keys["y"].HandedOut), uint64(6))

		before := g.Stats().Keys
		var all sync.WaitGroup
		for range 30 {
			all.Go(func() {
				_, c, err := g.GetAny(context.Background(), RoundRobin, "c", "b", "a", "b")
				if err != nil {
					t.Error(err)
					return
				}
				g.Put(c)
			})
		}
		all.Wait()
		for key, now := range g.Stats().Keys {
			if key <= "c" {
				require.EqualValues(t, 10, now.HandedOut-before[key].HandedOut, key)
			}
		}
	})
}

// TestGetAnyLeastBusy: fewest out and waiting, then in turn.
func TestGetAnyLeastBusy(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g := newGroup(t, s, GroupConfig{}, LocalConfig{Limits: Limits{MaxOpen: 2}})
		var held []*Conn
		var order string
		for range 6 {
			key, c := any3(t, g, LeastBusy)
			order += key
			held = append(held, c)
		}
		require.Equal(t, "abcabc", order)
		g.Put(held[1]) // b's
		key, c := any3(t, g, LeastBusy)
		require.Equal(t, "b", key)
		waiting := []<-chan got{laterKey(g, "a"), laterKey(g, "b")}
		g.Put(held[2]) // of c one is out, of the others two and one waits
		key, again := any3(t, g, LeastBusy)
		require.Equal(t, "c", key)
		for _, c := range []*Conn{c, again, held[0], held[3], held[4], held[5]} {
			g.Put(c)
		}
		for _, w := range waiting {
			g.Put(mustCome(t, w))
		}
	})
}

// TestGetAnyAtOnce: those who come together spread over the keys.
func TestGetAnyAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g := newGroup(t, s, GroupConfig{}, LocalConfig{})
		var out [3]atomic.Int64
		var all sync.WaitGroup
		for range 12 {
			all.Go(func() {
				key, c, err := g.GetAny(context.Background(), LeastBusy, "a", "b", "c")
				if err != nil {
					t.Error(err)
					return
				}
				out[key[0]-'a'].Add(1)
				time.Sleep(time.Second)
				g.Put(c)
			})
		}
		all.Wait()
		for i := range out {
			// For the moment in which it gets its connection a getter counts beside it.
			require.InDelta(t, 4, out[i].Load(), 1)
		}
	})
}

// newUnreliable is a group whose keys "down…" refuse while down is set.
func newUnreliable(t *testing.T, s *lineServer) (g *Group, down *atomic.Bool, tries *atomic.Int64) {
	down, tries = new(atomic.Bool), new(atomic.Int64)
	down.Store(true)
	return newGroup(t, s, GroupConfig{New: func(key string) (LocalConfig, error) {
		if key == "unknown" {
			return LocalConfig{}, errors.New("no such server")
		}
		return LocalConfig{Dial: func(ctx context.Context) (net.Conn, error) {
			time.Sleep(10 * time.Millisecond)
			if key[0] == 'd' && down.Load() {
				tries.Add(1)
				return nil, errors.New("connection refused")
			}
			return s.dial(ctx)
		}}, nil
	}}, LocalConfig{}), down, tries
}

// TestGetAnyGoesOn to the next key when a dial fails, keeps away from the failing
// one, and comes back to it once it works.
func TestGetAnyGoesOn(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g, down, _ := newUnreliable(t, s)
		for i := range 6 {
			begun := time.Now()
			key, c, err := g.GetAny(t.Context(), RoundRobin, "d", "up", "unknown")
			require.NoError(t, err)
			require.Equal(t, "up", key)
			if i == 0 {
				require.Equal(t, 20*time.Millisecond, time.Since(begun), "the first knows of nothing yet")
			} else {
				require.Zero(t, time.Since(begun))
			}
			g.Put(c)
		}
		down.Store(false)
		time.Sleep(time.Minute)
		seen := map[string]int{}
		for range 4 {
			key, c, err := g.GetAny(t.Context(), LeastBusy, "d", "up")
			require.NoError(t, err)
			seen[key]++
			g.Put(c)
		}
		require.Equal(t, map[string]int{"d": 2, "up": 2}, seen)
	})
}

// TestGetAnyNoneCanServe: the error comes as soon as each has been tried, and says
// what is wrong with each.
func TestGetAnyNoneCanServe(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g, _, _ := newUnreliable(t, s)
		for range 3 {
			begun := time.Now()
			_, _, err := g.GetAny(t.Context(), RoundRobin, "d1", "d2", "unknown")
			require.ErrorContains(t, err, "none of 3 keys can serve")
			require.ErrorContains(t, err, `; key "d1": connection refused`)
			require.ErrorContains(t, err, `; key "d2": connection refused`)
			require.ErrorContains(t, err, `; key "unknown": no such server`)
			require.Less(t, time.Since(begun), 3*time.Second)
		}
		_, _, err := g.GetAny(t.Context(), RoundRobin, "d1")
		require.EqualError(t, err, `key "d1": connection refused`)
		_, _, err = g.GetAny(t.Context(), RoundRobin)
		require.ErrorContains(t, err, "no key")
		_, _, err = g.GetAny(t.Context(), Pick(7), "a")
		require.ErrorContains(t, err, "Pick is 7")
		many := make([]string, 20)
		for i := range many {
			many[i] = "d" + string(rune('a'+i))
		}
		_, _, err = g.GetAny(t.Context(), LeastBusy, many...)
		require.ErrorContains(t, err, "; and 15 more")
	})
}

// TestGetAnyWithinContext: its end ends the search.
func TestGetAnyWithinContext(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g := newGroup(t, s, GroupConfig{New: func(key string) (LocalConfig, error) {
			return LocalConfig{Dial: func(ctx context.Context) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}, ConnectTimeout: 5 * time.Second}, nil
		}}, LocalConfig{})
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		begun := time.Now()
		_, _, err := g.GetAny(ctx, RoundRobin, "a", "b", "c")
		require.ErrorIs(t, err, ErrTimeout)
		require.Equal(t, 7*time.Second, time.Since(begun))
		require.Equal(t, []string{"a", "b"}, g.Keys(), "the third was never tried")
		synctest.Wait()
		for _, r := range g.rooms {
			require.Empty(t, r.pool.local.watchers)
		}
		_, _, err = g.GetAny(ctx, RoundRobin, "a", "b")
		require.ErrorIs(t, err, ErrTimeout)
	})
}
