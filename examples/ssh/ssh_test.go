//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/tunnelpool/pool"
)

// TestCommands runs twenty at once over at most five connections, of which sshd
// itself tells.
func TestCommands(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	p := s.pool()
	var mu sync.Mutex
	from := make(map[string]bool)
	var running sync.WaitGroup
	for n := range 20 {
		running.Go(func() {
			s.prints(p, fmt.Sprintf("sleep 0.1; echo %d", n), strconv.Itoa(n))
			connection, err := s.output(p, "sleep 0.1; echo $SSH_CONNECTION")
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			from[connection] = true
		})
	}
	running.Wait()
	require.LessOrEqual(t, len(from), 5, "%v", from)
	require.Greater(t, len(from), 1, "nothing ran side by side")
	require.LessOrEqual(t, s.logins(), 5)
	require.Empty(t, p.Stats().Closed)
	t.Logf("40 commands of 20 callers, %d log-ins, %d connections", s.logins(), len(from))
}

// TestExitStatus holds that a command's failure is told, and costs no connection.
func TestExitStatus(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	s.connections = 1
	p := s.pool()
	for want := 1; want <= 10; want++ {
		_, err := s.output(p, fmt.Sprintf("exit %d", want))
		var failed *ssh.ExitError
		require.ErrorAs(t, err, &failed)
		require.Equal(t, want, failed.ExitStatus())
	}
	_, err := s.output(p, "kill -TERM $$")
	require.ErrorContains(t, err, "TERM")
	s.prints(p, "echo fine", "fine")
	require.Equal(t, 1, s.logins())
}

// TestTimeout holds that a command that takes too long is killed and loses its
// connection, and that those beside it notice nothing.
func TestTimeout(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	p := s.pool()
	warm(s, p, 5)
	var running sync.WaitGroup
	for n := range 4 {
		running.Go(func() {
			s.prints(p, fmt.Sprintf("sleep 2; echo %d", n), strconv.Itoa(n))
		})
	}
	pid := new(lockedBuffer)
	line := "echo $$ >&2; exec sleep 600"
	if os.Getuid() == 0 { // sshd passes no signals to who logged in as root: then it ends when nobody hears it
		line = "echo $$ >&2; while sleep 0.1; do echo; done"
	}
	r := command{line: line, timeout: 500 * time.Millisecond, stderr: pid}.run(t.Context(), p)
	require.ErrorIs(t, r.err, errTimeout)
	require.ErrorContains(t, r.err, "500ms")
	require.Less(t, r.took, 5*time.Second)
	running.Wait()
	closed := 0
	for _, n := range p.Stats().Closed { // discarded, or by the client itself if it came first
		closed += int(n)
	}
	require.Equal(t, 1, closed, "%v", p.Stats().Closed)

	killed, err := strconv.Atoi(strings.TrimSpace(pid.String()))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return ended(killed) }, 10*time.Second, 10*time.Millisecond)
}

// TestCancelled holds the same for a caller who gives up.
func TestCancelled(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	p := s.pool()
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	time.AfterFunc(300*time.Millisecond, func() { cancel(enough) })
	r := command{line: "while sleep 0.1; do echo; done"}.run(ctx, p)
	require.ErrorIs(t, r.err, enough)
	s.prints(p, "echo fine", "fine")
}

// TestHostKey holds that nobody logs in where the host's key is another than the
// one that is known, or none is.
func TestHostKey(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	other := s.newKey("other", newEd25519(t))
	for name, c := range map[string]struct{ line, says string }{
		"another": {knownhosts.Line([]string{s.address}, other.PublicKey()), "is not the one in " + s.path("another") + ":1"},
		"unknown": {knownhosts.Line([]string{"example.com"}, other.PublicKey()), "does not know the host key of " + s.address},
		"nobody":  {"", "does not know the host key of " + s.address},
	} {
		s.file(name, c.line)
		wrong := s.config
		wrong.knownHosts = s.path(name)
		p, err := newPool(wrong)
		require.NoError(t, err)
		t.Cleanup(p.Close)
		_, err = p.Fresh(t.Context())
		require.ErrorContains(t, err, c.says)
		require.NotContains(t, err.Error(), "\n")
	}
	require.Zero(t, s.logins())
	s.prints(s.pool(), "echo fine", "fine")
	_, err := newPool(config{address: s.address, knownHosts: filepath.Join(s.dir, "no.such")})
	require.ErrorContains(t, err, "no.such")
}

// TestKilled ends connections at sshd: idle ones are never handed out again, and a
// command on one that ends says so, while the next are as ever.
func TestKilled(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	p := s.pool()
	for range 2 {
		for pid := range warm(s, p, 5) {
			monitor := parent(pid) // also has the connection, unless we are root: then it is the sshd that listens
			for _, pid := range []int{pid, monitor} {
				if pid != s.pid {
					_ = syscall.Kill(pid, syscall.SIGKILL) // one may have gone with the other
					require.Eventually(t, func() bool { return ended(pid) }, 10*time.Second, time.Millisecond)
				}
			}
		}
		var running sync.WaitGroup
		for n := range 20 {
			running.Go(func() {
				s.prints(p, fmt.Sprintf("echo %d", n), strconv.Itoa(n))
			})
		}
		running.Wait()
	}
	began := time.Now()
	_, err := s.output(p, "kill -KILL $PPID; while sleep 0.1; do echo; done")
	require.Error(t, err)
	var failed *ssh.ExitError
	require.NotErrorAs(t, err, &failed)
	require.Less(t, time.Since(began), 30*time.Second)
	s.prints(p, "echo fine", "fine")
}

// TestCheck holds that Check tells one who answers from one who does not.
func TestCheck(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	s.connections = 1
	p := s.pool()
	var pid int
	for pid = range warm(s, p, 1) {
	}
	conn, err := p.Get(t.Context())
	require.NoError(t, err)
	require.NoError(t, check(t.Context(), conn))
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(200*time.Millisecond)))
	require.Error(t, check(t.Context(), conn))
	p.Discard(conn.ID(), conn, errors.New("does not answer"))
	s.prints(p, "echo fine", "fine")
}

// ended reports whether a process is no more, or only waits for its parent to notice.
func ended(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && bytes.Contains(stat, []byte(") Z "))
}

// parent returns a process's parent, or itself where the system does not tell.
func parent(pid int) int {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(stat), ") ") // its state, its parent
	if fields := strings.Fields(after); len(fields) > 1 {
		pid, _ = strconv.Atoi(fields[1])
	}
	return pid
}

// warm has n connections made, and returns the process that sshd has for each.
func warm(s *sshd, p *pool.Pool, n int) map[int]bool {
	s.t.Helper()
	var mu sync.Mutex
	pids := make(map[int]bool)
	var here, running sync.WaitGroup
	here.Add(n)
	for range n {
		running.Go(func() {
			err := p.Do(s.t.Context(), func(conn net.Conn) error {
				here.Done()
				here.Wait() // all have one
				var out bytes.Buffer
				err := command{line: "echo $PPID", stdout: &out}.on(s.t.Context(), conn)
				pid, _ := strconv.Atoi(strings.TrimSpace(out.String()))
				mu.Lock()
				defer mu.Unlock()
				pids[pid] = true
				return err
			})
			if err != nil {
				s.t.Error(err)
			}
		})
	}
	running.Wait()
	require.Len(s.t, pids, n)
	return pids
}
