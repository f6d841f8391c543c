package notify

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for something that must come.
const patience = 10 * time.Second

// manager is a service manager: a socket, and what came there.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

// newManager listens, and says so in the environment.
func newManager(t *testing.T, watchdog time.Duration) *manager {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("there are no datagrams over unix sockets on Windows")
	}
	dir, err := os.MkdirTemp("", "notify") // short, unlike t.TempDir: a socket's path is limited
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "")
	t.Setenv("WATCHDOG_PID", "")
	if watchdog > 0 {
		t.Setenv("WATCHDOG_USEC", strconv.FormatInt(watchdog.Microseconds(), 10))
	}
	return &manager{t, conn}
}

// next returns the lines of the next message.
func (m *manager) next() []string {
	m.t.Helper()
	m.conn.SetReadDeadline(time.Now().Add(patience))
	message := make([]byte, 4096)
	n, err := m.conn.Read(message)
	require.NoError(m.t, err)
	return strings.Split(string(message[:n]), "\n")
}

// until returns the first message with a line that begins like that.
func (m *manager) until(begin string) []string {
	m.t.Helper()
	for {
		lines := m.next()
		for _, l := range lines {
			if strings.HasPrefix(l, begin) {
				return lines
			}
		}
	}
}

// silent reports whether nothing comes for a while.
func (m *manager) silent(d time.Duration) bool {
	m.conn.SetReadDeadline(time.Now().Add(d))
	_, err := m.conn.Read(make([]byte, 4096))
	return os.IsTimeout(err)
}

type testLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *testLog) Debug(string, ...any) {}
func (l *testLog) Info(string, ...any)  {}
func (l *testLog) Error(string, ...any) {}
func (l *testLog) Warn(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func steady() string { return "2 clients" }

func TestLife(t *testing.T) {
	m := newManager(t, 0)
	ctx, end := context.WithCancel(context.Background())
	defer end()
	p := New(Program{Status: steady})
	stop := p.Follow(ctx)
	require.Equal(t, []string{"READY=1", "STATUS=2 clients"}, m.next())

	p.Reload(func() {
		lines := m.next()
		require.Equal(t, "RELOADING=1", lines[0])
		if runtime.GOOS == "linux" {
			require.Len(t, lines, 2)
			require.Regexp(t, `^MONOTONIC_USEC=[1-9]\d*$`, lines[1])
		}
		require.True(t, m.silent(20*time.Millisecond), "it is not over")
	})
	require.Equal(t, []string{"READY=1"}, m.next())

	end()
	require.Equal(t, []string{"STOPPING=1", "STATUS=Stopping: 2 clients"}, m.next())
	stop()
	require.True(t, m.silent(20*time.Millisecond), "nothing after the end")
}

// A client is ready when its services are up.
func TestReadyWhenUp(t *testing.T) {
	m := newManager(t, 0)
	up := make(chan struct{})
	p := New(Program{Status: steady, Up: func(ctx context.Context) error {
		select {
		case <-up:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	stop := p.Follow(context.Background())
	p.Reload(func() {}) // of no interest yet
	require.True(t, m.silent(20*time.Millisecond), "not ready, and nothing to say before")
	close(up)
	require.Equal(t, []string{"READY=1", "STATUS=2 clients"}, m.next())
	stop()
}

// One that is stopped before it was up never says that it is ready.
func TestStoppedBeforeUp(t *testing.T) {
	m := newManager(t, 0)
	ctx, end := context.WithCancel(context.Background())
	p := New(Program{Status: steady, Up: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
	stop := p.Follow(ctx)
	end()
	require.Equal(t, []string{"STOPPING=1", "STATUS=Stopping: 2 clients"}, m.until("STOPPING"))
	stop()
	require.True(t, m.silent(20*time.Millisecond))
}

// A program that becomes ready during a reload is ready at its end.
func TestReadyDuringReload(t *testing.T) {
	m := newManager(t, 0)
	p := New(Program{Status: steady})
	var stop func()
	p.Reload(func() {
		stop = p.Follow(context.Background())
		require.Equal(t, []string{"STATUS=2 clients"}, m.next())
	})
	require.Equal(t, []string{"READY=1"}, m.next())
	stop()
}

// Signs of life come while the program can tell how it does, and only then.
func TestWatchdog(t *testing.T) {
	m := newManager(t, 40*time.Millisecond)
	var lock sync.Mutex // what the program's work takes
	p := New(Program{Status: func() string {
		lock.Lock()
		defer lock.Unlock()
		return "well"
	}})
	stop := p.Follow(context.Background())
	require.Equal(t, []string{"READY=1", "STATUS=well", "WATCHDOG=1"}, m.next())
	for range 3 {
		require.Equal(t, []string{"WATCHDOG=1"}, m.next())
	}
	lock.Lock() // for ever, for all the watchdog knows
	for !m.silent(200 * time.Millisecond) {
		// what was on its way
	}
	lock.Unlock()
	require.Equal(t, []string{"WATCHDOG=1"}, m.next())
	stop()
}

func TestWatchdogOfAnother(t *testing.T) {
	for pid, want := range map[string]time.Duration{
		"": time.Second, strconv.Itoa(os.Getpid()): time.Second, "1": 0, "x": 0,
	} {
		t.Setenv("WATCHDOG_USEC", "1000000")
		t.Setenv("WATCHDOG_PID", pid)
		require.Equal(t, want, watchdog(), pid)
	}
	t.Setenv("WATCHDOG_PID", "")
	for _, us := range []string{"", "0", "-1", "x", "99999999999999999999", "9223372036854775807"} {
		t.Setenv("WATCHDOG_USEC", us)
		require.Zero(t, watchdog(), us)
	}
}

// A part of the line may be a peer's, who must not write the manager's words.
func TestLineStaysOne(t *testing.T) {
	m := newManager(t, 0)
	p := New(Program{Status: func() string { return "a\nMAINPID=1\r\x00b" }})
	stop := p.Follow(context.Background())
	require.Equal(t, []string{"READY=1", "STATUS=a MAINPID=1  b"}, m.next())
	stop()
}

func TestNobodyAsked(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "1000")
	p := New(Program{Status: func() string { panic("asked") }, Up: func(context.Context) error { panic("asked") }})
	stop := p.Follow(context.Background())
	done := false
	p.Reload(func() { done = true })
	require.True(t, done)
	stop()
}

// A manager that is gone is told of once, and harms nobody.
func TestManagerGone(t *testing.T) {
	m := newManager(t, 20*time.Millisecond)
	m.conn.Close()
	var log testLog
	asked := make(chan struct{}, 100)
	p := New(Program{Logger: &log, Status: func() string { asked <- struct{}{}; return "well" }})
	stop := p.Follow(context.Background())
	for range 5 {
		<-asked
	}
	stop()
	require.Len(t, log.lines, 1)
	require.Contains(t, log.lines[0], "The service manager cannot be told how this program does: dial unixgram")
}

// A manager that does not read cannot hold up the program's end for long.
func TestManagerDoesNotRead(t *testing.T) {
	newManager(t, 2*time.Millisecond)
	var log testLog
	asked := make(chan struct{}, 10_000)
	p := New(Program{Logger: &log, Status: func() string { asked <- struct{}{}; return "well" }})
	stop := p.Follow(context.Background())
	heard := func() int { log.mu.Lock(); defer log.mu.Unlock(); return len(log.lines) }
	require.Eventually(t, func() bool { return heard() > 0 }, patience, 10*time.Millisecond, "its queue is full")
	began := time.Now()
	stop()
	require.Less(t, time.Since(began), 2*sendLimit)
	require.Contains(t, log.lines[0], "timeout")
}
