package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/session"
	"github.com/tunnelpool/pool/internal/wire"
)

// TestScheduleAfterTimeouts: at once, then every half a second for two
// minutes, then ever more seldom.
func TestScheduleAfterTimeouts(t *testing.T) {
	for _, err := range []error{
		fmt.Errorf("%w for 15s", session.ErrSilent), os.ErrDeadlineExceeded, context.DeadlineExceeded,
		&net.OpError{Op: "dial", Err: syscall.ENETUNREACH}, fmt.Errorf("wrapped: %w", pool.ErrBusy),
	} {
		var s schedule
		now := time.Now()
		lost := now
		require.Zero(t, s.ended(err, time.Hour, now))
		require.True(t, s.eager(now))
		for now.Sub(lost) < eagerTime {
			pause := s.failed(err, now)
			require.InDelta(t, eagerPace, pause, float64(eagerPace/5))
			now = now.Add(pause)
		}
		require.False(t, s.eager(now))
		checkPatience(t, &s, err, now)
	}
}

// checkPatience wants pauses that double up to the ceiling, with full jitter.
func checkPatience(t *testing.T, s *schedule, err error, now time.Time) {
	t.Helper()
	limit := reconnectBase
	var sum, most time.Duration
	for range 200 {
		pause := s.failed(err, now)
		require.Less(t, pause, limit)
		now = now.Add(pause)
		sum, most = sum+pause, max(most, pause)
		limit = min(2*limit, reconnectCeiling)
	}
	require.Greater(t, sum, 200*reconnectCeiling/4, "there is next to no pause")
	require.Greater(t, most, reconnectCeiling/2)
}

func TestScheduleAfterRefusals(t *testing.T) {
	for _, err := range []error{
		syscall.ECONNREFUSED, &denied{wire.TooMany, "full"}, pool.ErrRefused, io.EOF,
		fmt.Errorf("%w: closed by the other side", session.ErrEnded),
	} {
		var s schedule
		now := time.Now()
		require.Less(t, s.ended(err, time.Hour, now), reconnectBase)
		require.False(t, s.eager(now))
		s = schedule{}
		checkPatience(t, &s, err, now)
	}
}

// TestScheduleOfShortSessions: a server that welcomes and hangs up is not
// chased, and one that did well once is tried soon again.
func TestScheduleOfShortSessions(t *testing.T) {
	var s schedule
	now := time.Now()
	for range 20 {
		s.ended(io.EOF, usefulSession/2, now)
	}
	require.Equal(t, 20, s.failures)
	s.ended(io.EOF, steadySession, now)
	require.Equal(t, 1, s.failures)
	s.ended(errReplaced, steadySession, now)
	require.Greater(t, s.failures, patientFailures)
}

// path is a fake way to the server. It counts dials that hang.
type path struct {
	mu           sync.Mutex // guards what follows
	open         bool       // lets new dials through
	refuses      bool
	dials        int
	hanging, max int
	through      []net.Conn // the server's ends
}

func (p *path) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dials++
	if p.refuses {
		return nil, syscall.ECONNREFUSED
	}
	if p.open {
		near, far := net.Pipe()
		p.through = append(p.through, far)
		return near, nil
	}
	p.hanging++
	p.max = max(p.max, p.hanging)
	p.mu.Unlock()
	<-ctx.Done()
	p.mu.Lock()
	p.hanging--
	return nil, ctx.Err()
}

func (p *path) connect(ctx context.Context) (net.Conn, error) { return p.dial(ctx, "tcp", "host:1") }

// TestRaceOverABlackHole: dials into the hole hang for ever. One of those that
// begin anew gets through soon after the way opens.
func TestRaceOverABlackHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &path{}
		c := new(Client)
		var opened time.Time
		time.AfterFunc(9*time.Second, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.open, opened = true, time.Now()
		})
		conn, err := c.race(t.Context(), p.connect, true)
		require.NoError(t, err)
		require.LessOrEqual(t, time.Since(opened), eagerPace*6/5)
		require.LessOrEqual(t, p.max, maxDials)
		require.InDelta(t, 19, p.dials, 4)
		conn.Close()
		c.tasks.Wait()
		require.Zero(t, p.hanging)
	})
}

// TestRaceIsPatient: a client that is not eager gives each of few dials its
// time.
func TestRaceIsPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &path{}
		c := new(Client)
		ctx, cancel := context.WithTimeout(t.Context(), handshakeTimeout)
		defer cancel()
		_, err := c.race(ctx, p.connect, false)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, maxDials, p.dials)
		c.tasks.Wait()
	})
}

func TestRaceEndsWithARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &path{}
		c := new(Client)
		time.AfterFunc(3*time.Second, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.refuses = true
		})
		begun := time.Now()
		_, err := c.race(t.Context(), p.connect, true)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.Less(t, time.Since(begun), 3*time.Second+eagerPace*6/5)
		c.tasks.Wait()
	})
}

// TestLateDialsAreClosed: of several that connect, one is used.
func TestLateDialsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ends []net.Conn
		var mu sync.Mutex
		slow := func(context.Context) (net.Conn, error) { // heeds no context
			time.Sleep(time.Second)
			near, far := net.Pipe()
			mu.Lock()
			defer mu.Unlock()
			ends = append(ends, far)
			return near, nil
		}
		c := new(Client)
		conn, err := c.race(t.Context(), slow, true)
		require.NoError(t, err)
		c.tasks.Wait()
		require.Greater(t, len(ends), 1)
		open := 0
		for _, end := range ends {
			end.SetReadDeadline(time.Now().Add(time.Millisecond))
			if _, err := end.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
				open++
			}
		}
		require.Equal(t, 1, open)
		conn.Close()
	})
}
