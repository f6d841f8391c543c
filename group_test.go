package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestGroup: each key has connections of its own, made when somebody asks, which
// serve again and again.
func TestGroup(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		asked := map[string]int{}
		g := newGroup(t, s, GroupConfig{New: func(key string) (LocalConfig, error) {
			asked[key]++
			return LocalConfig{Dial: s.dial, Setup: saying("I want " + key)}, nil
		}}, LocalConfig{})
		require.Empty(t, g.Keys())
		for range 10 {
			for _, key := range []string{"b", "a"} {
				c := mustGetKey(t, g, key)
				answer, err := askLine(c, "x")
				require.NoError(t, err)
				require.Equal(t, "x", answer)
				g.Put(c)
			}
		}
		require.Equal(t, []string{"a", "b"}, g.Keys())
		require.Equal(t, map[string]int{"a": 1, "b": 1}, asked)
		require.LessOrEqual(t, s.dials(), 6)
		require.NoError(t, g.Do(t.Context(), "a", func(c net.Conn) error {
			require.Equal(t, "a", c.(*Conn).pool.room.key)
			return nil
		}))
		require.Equal(t, errBroken, g.Do(t.Context(), "b", func(net.Conn) error { return errBroken }))
		c, err := g.Fresh(t.Context(), "a")
		require.NoError(t, err)
		g.Put(wrapper{c})
		c = mustGetKey(t, g, "b")
		g.Discard(wrapper{c}, errBroken)
		stats := g.Stats()
		require.EqualValues(t, 12, stats.Keys["b"].HandedOut)
		require.EqualValues(t, 24, stats.Sum.HandedOut)
		require.EqualValues(t, 2, stats.Sum.Closed[ClosedDiscarded])
		require.EqualValues(t, 1, stats.Sum.Closed[ClosedSingle])
	})
}

// TestGroupPutsOnlyItsOwn: what is another's is closed, as a pool does.
func TestGroupPutsOnlyItsOwn(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g := newGroup(t, s, GroupConfig{}, LocalConfig{})
		other := newGroup(t, s, GroupConfig{}, LocalConfig{})
		g.Put(nil)
		near, far := net.Pipe()
		g.Put(near)
		requireEnded(t, far)
		near, far = net.Pipe()
		g.Discard(near, nil)
		requireEnded(t, far)
		c := mustGetKey(t, other, "a")
		g.Put(c)
		_, err := c.Write([]byte("x"))
		require.ErrorIs(t, err, net.ErrClosed)
		require.EqualValues(t, 1, other.Stats().Sum.Closed[ClosedByHolder])
	})
}

// TestGroupRefuses what cannot work, by the field's name.
func TestGroupRefuses(t *testing.T) {
	_, err := NewGroup(GroupConfig{})
	require.ErrorContains(t, err, "GroupConfig.New")
	_, err = NewGroup(GroupConfig{MaxOpen: -1, New: func(string) (LocalConfig, error) { return LocalConfig{}, nil }})
	require.ErrorContains(t, err, "GroupConfig.MaxOpen")
}

// TestGroupMakesOnePool of all who ask for a new key at once, and one for another
// key meanwhile.
func TestGroupMakesOnePool(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		var made atomic.Int64
		slow := make(chan struct{})
		g := newGroup(t, nil, GroupConfig{New: func(key string) (LocalConfig, error) {
			if key == "slow" {
				made.Add(1)
				<-slow
			}
			return LocalConfig{Dial: s.dial}, nil
		}}, LocalConfig{})
		var waiting []<-chan got
		for range 8 {
			waiting = append(waiting, laterKey(g, "slow"))
		}
		g.Put(mustGetKey(t, g, "quick"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := g.Get(ctx, "slow")
		require.ErrorIs(t, err, ErrTimeout)
		require.NotContains(t, g.Stats().Keys, "slow", "it is not there yet")
		close(slow)
		for _, w := range waiting {
			g.Put(mustCome(t, w))
		}
		require.EqualValues(t, 1, made.Load())
	})
}

// TestGroupTemplateFails: everybody who waits for the pool is told why there is
// none, nothing is kept, and the next who asks has it tried again.
func TestGroupTemplateFails(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		calls := 0
		gate := make(chan struct{})
		result := errors.New("no such server")
		g := newGroup(t, s, GroupConfig{New: func(string) (LocalConfig, error) {
			calls++
			<-gate
			if result != nil {
				return LocalConfig{}, result
			}
			return LocalConfig{Dial: s.dial}, nil
		}}, LocalConfig{})
		waiting := []<-chan got{laterKey(g, "a"), laterKey(g, "a")}
		close(gate)
		for _, w := range waiting {
			require.ErrorIs(t, (<-w).err, result)
		}
		require.Equal(t, 1, calls)
		require.Empty(t, g.Keys())
		_, err := g.Get(t.Context(), "a")
		require.EqualError(t, err, `key "a": no such server`)
		result = nil
		g.Put(mustGetKey(t, g, "a"))
		require.Equal(t, 3, calls)
	})
}

// TestGroupTemplateIsWrong: a configuration that cannot work is refused by its field;
// a panic is the caller's, and holds up nobody else.
func TestGroupTemplateIsWrong(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		gate := make(chan struct{})
		g := newGroup(t, s, GroupConfig{New: func(key string) (LocalConfig, error) {
			if key == "panic" {
				<-gate
				panic("boom")
			}
			return LocalConfig{Dial: s.dial, Limits: Limits{MaxAge: -1}}, nil
		}}, LocalConfig{})
		_, err := g.Get(t.Context(), strings.Repeat("long", 1000))
		require.ErrorContains(t, err, "LocalConfig.MaxAge")
		require.Less(t, len(err.Error()), 300)
		panicked := make(chan any, 1)
		go func() {
			defer func() { panicked <- recover() }()
			_, _ = g.Get(context.Background(), "panic")
		}()
		synctest.Wait()
		other := laterKey(g, "panic")
		close(gate)
		require.Equal(t, "boom", <-panicked)
		require.ErrorIs(t, (<-other).err, errNewPanicked)
		require.Empty(t, g.Keys())
	})
}

// TestGroupKeyThatNeverWorks: the getter is told what fails, in bounded time, and
// nothing of the key stays.
func TestGroupKeyThatNeverWorks(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g := newGroup(t, s, GroupConfig{MaxOpen: 2, KeepUnused: time.Minute}, LocalConfig{
			Setup: func(context.Context, *Conn) error { return errors.New("wrong password") },
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		begun := time.Now()
		_, err := g.Get(ctx, "a")
		require.ErrorIs(t, err, ErrTimeout)
		require.ErrorContains(t, err, "wrong password")
		require.ErrorContains(t, err, `key "a"`)
		require.Equal(t, 20*time.Second, time.Since(begun))
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		require.Empty(t, g.Keys())
		stats := g.Stats()
		require.Positive(t, stats.Sum.SetupFailures, "what a removed pool did stays in the sum")
		require.Zero(t, stats.Open)
		dials := s.dials()
		time.Sleep(time.Hour)
		require.Equal(t, dials, s.dials())
	})
}

// TestGroupRemovesUnused pools, when nobody has had or wanted a connection for
// KeepUnused, and not before.
func TestGroupRemovesUnused(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g := newGroup(t, s, GroupConfig{KeepUnused: time.Minute}, LocalConfig{Goodbye: saying("bye"), Limits: Limits{MaxOpen: 1, AcquireTimeout: -1}})
		c := mustGetKey(t, g, "a")
		g.Put(mustGetKey(t, g, "b"))
		time.Sleep(61 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{"a"}, g.Keys(), "of a one is out")
		g.Put(c)
		time.Sleep(59 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{"a"}, g.Keys(), "it counts from the Put")
		require.Equal(t, 1, s.open())
		time.Sleep(time.Second)
		synctest.Wait()
		require.Empty(t, g.Keys())
		require.Zero(t, s.open())
		require.Equal(t, 2, s.heardOf("bye"), "in order")
		require.EqualValues(t, 2, g.Stats().Ended)

		c = mustGetKey(t, g, "a") // there is a new one
		waiting := laterKey(g, "a")
		c.Close() // not by way of the group
		c = mustCome(t, waiting)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		_, err := g.Get(ctx, "a")
		require.ErrorIs(t, err, ErrTimeout)
		require.Len(t, g.Keys(), 1, "who waits uses it")
		g.Discard(c, nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Empty(t, g.Keys())
	})
}

// TestGroupGetsWhileRemoving: who comes in the instant in which a pool is removed
// gets a connection.
func TestGroupGetsWhileRemoving(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		const keep = 100 * time.Millisecond
		g := newGroup(t, s, GroupConfig{KeepUnused: keep}, LocalConfig{})
		for i := range 300 {
			g.Put(mustGetKey(t, g, "a"))
			time.Sleep(keep + time.Duration(i%3-1)) // just before, in the instant, just after
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() {
					c, err := g.Get(context.Background(), "a")
					if err != nil {
						t.Error(err)
						return
					}
					g.Put(c)
				})
			}
			all.Wait()
		}
		require.Greater(t, g.Stats().Ended, uint64(100), "some were removed")
	})
}

// TestGroupMaxKeys: the unused key that was used longest ago makes way for a new
// one; where all are in use there is an error, at once.
func TestGroupMaxKeys(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g := newGroup(t, s, GroupConfig{MaxKeys: 3, KeepUnused: -1}, LocalConfig{})
		a := mustGetKey(t, g, "a")
		g.Put(mustGetKey(t, g, "b"))
		g.Put(mustGetKey(t, g, "c"))
		g.Put(mustGetKey(t, g, "b"))
		d := mustGetKey(t, g, "d")
		require.Equal(t, []string{"a", "b", "d"}, g.Keys())
		e := mustGetKey(t, g, "e")
		require.Equal(t, []string{"a", "d", "e"}, g.Keys())
		_, err := g.Get(t.Context(), "f")
		require.ErrorIs(t, err, ErrTooManyKeys)
		require.EqualError(t, err, `key "f": too many keys are in use: MaxKeys is 3`)
		g.Put(d)
		f := mustGetKey(t, g, "f")
		require.Equal(t, []string{"a", "e", "f"}, g.Keys())
		g.Put(a)
		g.Put(e)
		g.Put(f)
	})
}

// TestGroupMaxKeysBoundsWhatIsClosing: pools that take leave of a server which
// does not answer do not pile up.
func TestGroupMaxKeysBoundsWhatIsClosing(t *testing.T) {
	inBubble(t, func(t *testing.T, s *lineServer) {
		g := newGroup(t, s, GroupConfig{MaxKeys: 4}, LocalConfig{Goodbye: func(ctx context.Context, _ *Conn) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		refused := 0
		for i := range 100 {
			c, err := g.Get(t.Context(), fmt.Sprint(i))
			if err != nil {
				require.ErrorIs(t, err, ErrTooManyKeys)
				refused++
				continue
			}
			g.Put(c)
			require.LessOrEqual(t, s.open(), 2*8)
		}
		require.Equal(t, 100-8, refused)
		time.Sleep(2 * time.Second)
		g.Put(mustGetKey(t, g, "x"))
	})
}
