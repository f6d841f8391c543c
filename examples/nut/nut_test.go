package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestQueries has a hundred ask at once over four connections: everybody gets
// the answer to their own question, what upsd refuses costs no connection, and
// upsd sees four.
func TestQueries(t *testing.T) {
	t.Parallel()
	u := startUPSD(t)
	c := u.client(4)
	var asking sync.WaitGroup
	for n := range variables {
		asking.Go(func() {
			for _, ups := range []string{"one", "two"} {
				name, want := value(ups, n)
				got, err := c.Var(t.Context(), ups, name)
				if err != nil || got != want {
					t.Errorf("%s of %s is %q, %v; want %q", name, ups, got, err, want)
				}
				_, err = c.Var(t.Context(), ups, "no.such")
				refusedAs(t, err, "no such variable")
				_, err = c.Var(t.Context(), "three", name)
				refusedAs(t, err, "no UPS of that name")
			}
		})
	}
	asking.Wait()

	all, err := c.Vars(t.Context(), "two")
	require.NoError(t, err)
	require.Greater(t, len(all), variables)
	name, want := value("two", 42)
	require.Contains(t, all, variable{name, want})

	stats := c.pool.Stats()
	require.LessOrEqual(t, stats.Created, uint64(4))
	require.Empty(t, stats.Closed, "a connection was closed")
	if u.sockets() >= 0 {
		const others = 3 // upsd listens, and talks to two drivers
		require.Eventually(t, func() bool { return u.sockets() == others+int(stats.Created) },
			10*time.Second, 10*time.Millisecond, "upsd has more open than the pool")
	}
}

func refusedAs(t *testing.T, err error, text string) {
	t.Helper()
	var refused *refusal
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), text) {
		t.Errorf("%v; want a refusal with %q", err, text)
	}
}

// TestControlCharacters holds that nobody can smuggle a command into a question.
func TestControlCharacters(t *testing.T) {
	t.Parallel()
	u := startUPSD(t)
	c := u.client(1)
	_, err := c.Var(t.Context(), "one\nLOGIN one", "ups.status")
	refusedAs(t, err, "control character")
	_, err = c.Var(t.Context(), "one", `ups.status" x`)
	refusedAs(t, err, "no such variable")
	got, err := c.Var(t.Context(), "one", "ups.status")
	require.NoError(t, err)
	require.Equal(t, "OL", got)
	require.Empty(t, c.pool.Stats().Closed)
}

// TestRestart kills upsd under ten who ask without pause, and starts it again:
// meanwhile questions fail, and then they are answered again, every one with its
// own answer.
func TestRestart(t *testing.T) {
	t.Parallel()
	u := startUPSD(t)
	c := u.client(4)
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	answered, failed := make([]atomic.Int64, 10), make([]atomic.Int64, 10)
	for who := range answered {
		asking.Go(func() {
			for n := who; ctx.Err() == nil; n = (n + 10) % variables {
				name, want := value("one", n)
				got, err := c.Var(ctx, "one", name)
				switch {
				case err != nil:
					failed[who].Add(1)
				case got != want:
					t.Errorf("%s is %q, and was answered %q", name, want, got)
				default:
					answered[who].Add(1)
				}
			}
		})
	}
	await := func(what string, counters []atomic.Int64, more int64) {
		t.Helper()
		from := make([]int64, len(counters))
		for i := range counters {
			from[i] = counters[i].Load()
		}
		require.Eventually(t, func() bool {
			for i := range counters {
				if counters[i].Load() < from[i]+more {
					return false
				}
			}
			return true
		}, 30*time.Second, 5*time.Millisecond, what)
	}
	for range 3 {
		await("everybody is answered", answered, 20)
		u.kill()
		u.start()
		await("everybody is answered after the restart", answered, 20)
	}
	cancel()
	asking.Wait()
	stats := c.pool.Stats()
	require.LessOrEqual(t, stats.Idle, 4)
	lost := 0
	for i := range failed {
		lost += int(failed[i].Load())
	}
	t.Logf("3 restarts: %d questions failed, %d connections were made", lost, stats.Created)
}

// TestLogin holds that those who log in are counted by upsd for as long as they
// are, and that no pooled connection ever is.
func TestLogin(t *testing.T) {
	t.Parallel()
	u := startUPSD(t)
	c, other := u.client(4), u.client(4)
	count := func() int { return u.logins(other) }
	require.Equal(t, 0, count())

	first, err := c.Login(t.Context(), "one")
	require.NoError(t, err)
	second, err := c.Login(t.Context(), "one")
	require.NoError(t, err)
	for n := range variables {
		_, err := c.Var(t.Context(), "one", "ups.status")
		require.NoError(t, err, n)
	}
	require.Equal(t, 2, count())
	counted, err := first.Count(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, counted)

	first.Close()
	require.Eventually(t, func() bool { return count() == 1 }, 10*time.Second, 10*time.Millisecond)
	second.Close()
	require.Eventually(t, func() bool { return count() == 0 }, 10*time.Second, 10*time.Millisecond)
	require.Positive(t, c.pool.Active(), "the pool has its connections still, and none is logged in")
}

func (u *upsd) logins(c *client) int {
	u.t.Helper()
	var n int
	err := c.query(u.t.Context(), func(s *session) (err error) {
		n, err = s.logins("one")
		return err
	})
	require.NoError(u.t, err)
	return n
}

// TestWrongPassword holds that a log-in with a wrong password is refused in one line, and leaves
// the pool as it was.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	u := startUPSD(t)
	c, err := newClient(config{server: u.address, user: "watcher", password: "wrong", connections: 1})
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Login(t.Context(), "one")
	refusedAs(t, err, "wrong user or password")
	_, err = c.Var(t.Context(), "one", "ups.status")
	require.NoError(t, err)
}
