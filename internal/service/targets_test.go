package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/wire"
)

// town is a set of targets that a test switches on and off, without a network.
type town struct {
	*Targets

	mu     sync.Mutex // guards what follows
	down   map[string]wire.ResetReason
	dialed []string
	told   []string
}

var errDown = errors.New("down")

const dialTime = 4 * time.Second

func newTown(addresses ...string) *town {
	n := &town{down: map[string]wire.ResetReason{}}
	n.Targets = NewTargets(addresses, dialTime, func(c Change) {
		n.mu.Lock()
		defer n.mu.Unlock()
		what := "well"
		if c.Why != nil {
			what = fmt.Sprint("down: ", c.Why.Err)
		}
		n.told = append(n.told, fmt.Sprintf("%s %s, %d of %d", c.Address, what, c.Well, c.Of))
	})
	n.dial = func(ctx context.Context, address string, timeout time.Duration) (net.Conn, wire.ResetReason, error) {
		n.mu.Lock()
		n.dialed = append(n.dialed, address)
		why := n.down[address]
		n.mu.Unlock()
		if why == wire.ResetTimeout {
			time.Sleep(timeout)
		}
		if why != 0 {
			return nil, why, errDown
		}
		near, far := net.Pipe()
		far.Close()
		return near, 0, nil
	}
	return n
}

// turn switches a target off, for a reason, or on.
func (n *town) turn(address string, why wire.ResetReason) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down[address] = why
}

// user dials, and returns which targets were tried for it.
func (n *town) user(t *testing.T) (tried string, failures []Failure) {
	n.mu.Lock()
	n.dialed = nil
	n.mu.Unlock()
	conn, failures := n.Dial(t.Context())
	if conn != nil {
		conn.Close()
		require.Empty(t, failures)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.dialed, " "), failures
}

func (n *town) news() (told []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	told, n.told = n.told, nil
	return told
}

func TestTargetsInTurn(t *testing.T) {
	n := newTown("a", "b", "c")
	for range 3 {
		for _, want := range []string{"a", "b", "c"} {
			tried, _ := n.user(t)
			require.Equal(t, want, tried)
		}
	}
	require.Empty(t, n.news())
}

// TestFailover: who meets a target that is down is sent to the next. The others
// pass it over and are shared in turn, until one user finds it well again.
func TestFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown("a", "b", "c")
		n.turn("a", wire.ResetRefused)
		var tried []string
		for range 5 {
			one, _ := n.user(t)
			tried = append(tried, one)
		}
		require.Equal(t, []string{"a b", "c", "b", "c", "b"}, tried)
		require.Equal(t, []string{"a down: down, 2 of 3"}, n.news(), "told once")

		var pauses []time.Duration // between the users that find it down
		last := time.Now()
		for len(pauses) < 8 {
			time.Sleep(50 * time.Millisecond)
			if one, _ := n.user(t); strings.HasPrefix(one, "a ") {
				pauses = append(pauses, time.Since(last))
				last = time.Now()
			}
		}
		for i, pause := range pauses {
			want := min(firstAvoidance<<i, maxAvoidance)
			require.InDelta(t, want, pause, float64(want)/4+float64(200*time.Millisecond), "%v", pauses)
		}
		require.Empty(t, n.news(), "it is told that a target is down, not how often that was seen")

		n.turn("a", 0)
		time.Sleep(2 * maxAvoidance)
		served := map[string]int{}
		for range 30 {
			one, _ := n.user(t)
			served[one]++
		}
		require.Equal(t, map[string]int{"a": 10, "b": 10, "c": 10}, served)
		require.Equal(t, []string{"a well, 3 of 3"}, n.news())
	})
}

// TestOneUserFindsOut: while a target that was down is tried again, which may
// take the whole time of a dial, all others pass it over.
func TestOneUserFindsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown("a", "b")
		n.turn("a", wire.ResetTimeout)
		n.user(t)
		time.Sleep(2 * firstAvoidance)
		begun := time.Now()
		var finding sync.WaitGroup
		finding.Go(func() {
			conn, _ := n.Dial(t.Context())
			conn.Close()
			require.Equal(t, dialTime, time.Since(begun))
		})
		synctest.Wait()
		for range 20 {
			tried, _ := n.user(t)
			require.Equal(t, "b", tried)
		}
		require.Equal(t, begun, time.Now(), "somebody had to wait")
		finding.Wait()
	})
}

// TestAllTargetsDown: a user is reset for the last reason, and learns it within
// the time of two dials, however many there are.
func TestAllTargetsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown("a", "b", "c")
		n.turn("a", wire.ResetUnreachable)
		n.turn("b", wire.ResetTimeout)
		n.turn("c", wire.ResetRefused)
		tried, failures := n.user(t)
		require.Equal(t, "a b c", tried)
		require.Equal(t, []Failure{
			{"a", wire.ResetUnreachable, errDown}, {"b", wire.ResetTimeout, errDown}, {"c", wire.ResetRefused, errDown},
		}, failures)
		require.Equal(t, []string{"a down: down, 2 of 3", "b down: down, 1 of 3", "c down: down, 0 of 3"}, n.news())

		n.turn("a", wire.ResetTimeout)
		n.turn("c", wire.ResetTimeout)
		begun := time.Now()
		_, failures = n.user(t)
		require.LessOrEqual(t, time.Since(begun), 2*dialTime)
		require.NotEmpty(t, failures)

		n.turn("c", 0) // it is being avoided, and found in its turn nevertheless
		for users := 1; len(failures) > 0; users++ {
			require.LessOrEqual(t, users, 3)
			_, failures = n.user(t)
		}
		require.Equal(t, []string{"c well, 1 of 3"}, n.news())
	})
}

// TestFailuresThatAreNotTheTargets: what another target would meet too is not held
// against this one.
func TestFailuresThatAreNotTheTargets(t *testing.T) {
	for _, why := range []wire.ResetReason{wire.ResetInternal, wire.ResetShutdown} {
		n := newTown("a", "b")
		n.turn("a", why)
		tried, failures := n.user(t)
		require.Equal(t, "a", tried)
		require.Len(t, failures, 1)
		tried, _ = n.user(t)
		require.Equal(t, "b", tried)
		tried, _ = n.user(t)
		require.Equal(t, "a", tried)
		require.Empty(t, n.news())
	}
}

// TestOneTarget has nobody to fail over to, and is tried by each user.
func TestOneTarget(t *testing.T) {
	n := newTown("a")
	n.turn("a", wire.ResetRefused)
	for range 3 {
		tried, failures := n.user(t)
		require.Equal(t, "a", tried)
		require.Equal(t, []Failure{{"a", wire.ResetRefused, errDown}}, failures)
	}
	require.Empty(t, n.news())
}

func socketPath(t *testing.T) string {
	if runtime.GOOS == "windows" {
		t.Skip("targets are TCP there, as a rule")
	}
	dir, err := os.MkdirTemp("", "") // a test's own has too long a name for a socket
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func TestDialUnixTarget(t *testing.T) {
	path := socketPath(t)
	_, reason, err := DialTarget(t.Context(), UnixScheme+path, patience)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Equal(t, wire.ResetUnreachable, reason)

	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	conn, _, err := DialTarget(t.Context(), UnixScheme+path, patience)
	require.NoError(t, err)
	conn.Close()

	l.Close() // what is left is a socket that nobody listens on
	_, reason, err = DialTarget(t.Context(), UnixScheme+path, patience)
	require.Error(t, err)
	require.Equal(t, wire.ResetRefused, reason)
}

// TestCrowdedUnixTarget: who finds a Unix socket's queue full waits for room, as
// TCP does, up to the time of a dial.
func TestCrowdedUnixTarget(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems refuse, or wait by themselves")
	}
	path := socketPath(t)
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	file := os.NewFile(uintptr(fd), "crowded")
	defer file.Close()
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}))
	require.NoError(t, syscall.Listen(fd, 1))
	for {
		conn, reason, err := DialTarget(t.Context(), UnixScheme+path, 20*time.Millisecond)
		if err != nil {
			require.ErrorIs(t, err, syscall.EAGAIN)
			require.Equal(t, wire.ResetTimeout, reason)
			break
		}
		defer conn.Close()
	}
	l, err := net.FileListener(file)
	require.NoError(t, err)
	defer l.Close()
	patient := make(chan error, 1)
	go func() { // ends with the dial
		conn, _, err := DialTarget(t.Context(), UnixScheme+path, patience)
		if err == nil {
			io.WriteString(conn, "patient")
			conn.Close()
		}
		patient <- err
	}()
	for heard := ""; heard != "patient"; {
		conn, err := l.Accept()
		require.NoError(t, err)
		conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // those of the crowd say nothing
		said, _ := io.ReadAll(conn)
		heard = string(said)
		conn.Close()
	}
	require.NoError(t, <-patient)
}
