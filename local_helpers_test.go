package pool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// lineServer is a server in memory that knows nothing of pools: it answers each
// line, and remembers what it was told on which connection.
type lineServer struct {
	t      testing.TB
	answer func(conn int, line string) string // "" hangs up; nil echoes

	mu      sync.Mutex
	refuse  error // what dials get
	mute    bool  // it hangs up instead of answering
	said    [][]string
	live    map[int]net.Conn
	running sync.WaitGroup
}

// newLineServer makes a server that is stopped when the test ends. By then its
// clients must have closed every connection.
func newLineServer(t testing.TB, answer func(conn int, line string) string) *lineServer {
	if answer == nil {
		answer = func(_ int, line string) string { return line }
	}
	s := &lineServer{t: t, answer: answer, live: map[int]net.Conn{}}
	t.Cleanup(s.running.Wait)
	return s
}

func (s *lineServer) dial(context.Context) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return nil, s.refuse
	}
	near, far := net.Pipe()
	n := len(s.said)
	s.said = append(s.said, nil)
	s.live[n] = far
	s.running.Go(func() { s.serve(n, far) }) // ends with either end
	return near, nil
}

func (s *lineServer) serve(n int, conn net.Conn) {
	defer func() {
		conn.Close()
		s.mu.Lock()
		delete(s.live, n)
		s.mu.Unlock()
	}()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		s.mu.Lock()
		s.said[n] = append(s.said[n], lines.Text())
		s.mu.Unlock()
		answer := s.answer(n, lines.Text())
		s.mu.Lock()
		if s.mute {
			answer = ""
		}
		s.mu.Unlock()
		if answer == "" {
			return
		}
		if _, err := fmt.Fprintln(conn, answer); err != nil {
			return
		}
	}
}

func (s *lineServer) setRefuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = err
}

// setMute has the server hang up instead of answering.
func (s *lineServer) setMute(mute bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute = mute
}

// dials is how many connections were made so far, open how many are left.
func (s *lineServer) dials() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.said)
}

func (s *lineServer) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.live)
}

// heard is what was said on one connection.
func (s *lineServer) heard(conn int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.said[conn])
}

// heardOf counts a line over all connections.
func (s *lineServer) heardOf(line string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, lines := range s.said {
		for _, l := range lines {
			if l == line {
				n++
			}
		}
	}
	return n
}

// askLine says a line and returns the answer.
func askLine(conn net.Conn, line string) (string, error) {
	if _, err := fmt.Fprintln(conn, line); err != nil {
		return "", err
	}
	var answer strings.Builder
	for one := make([]byte, 1); ; {
		if _, err := conn.Read(one); err != nil {
			return "", err
		}
		if one[0] == '\n' {
			return answer.String(), nil
		}
		answer.WriteByte(one[0])
	}
}

// saying is a hook that says a line and wants it back.
func saying(line string) func(context.Context, *Conn) error {
	return func(_ context.Context, c *Conn) error {
		answer, err := askLine(c, line)
		if err == nil && answer != line {
			err = fmt.Errorf("the server answered %q to %q", answer, line)
		}
		return err
	}
}

// newLocal makes a pool for a server, closed and its books checked when the
// test ends.
func newLocal(t testing.TB, s *lineServer, cfg LocalConfig) *Pool {
	t.Helper()
	if s != nil {
		cfg.Dial = s.dial
	}
	p := keep(t)(NewLocal(cfg))
	t.Cleanup(func() { // runs before keep's
		if s != nil {
			p.Close()
			s.running.Wait()
			require.Zero(t, s.open())
		}
	})
	return p
}

var errBroken = errors.New("broken")

// checkDue has the sweep's checks made of all that is due by then.
func checkDue(p *Pool, by time.Time) {
	if !p.local.looks() {
		return
	}
	var due []sweepItem
	p.mu.Lock()
	for e := p.idle.oldest; e != nil; e = e.prev {
		if e.state == stateIdle && by.Sub(e.provenAt) >= p.local.cfg.CheckEvery {
			due = append(due, sweepItem{e, e.uses})
		}
	}
	p.mu.Unlock()
	p.local.checkIdle(due)
}
