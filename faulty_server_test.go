package pool

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// faultyServer answers lines, and fails now and then in each way that it can. It
// knows its connections by number, counts them to the last one, and notices when
// one is used that must not be, or by two at once.
type faultyServer struct {
	t    testing.TB
	seed uint64
	open func(context.Context) (net.Conn, error) // a connection to it
	tls  *tls.Config                             // for its clients; nil: plain

	mu    sync.Mutex
	conns []*faultyConn

	running  sync.WaitGroup
	dialed   atomic.Int64 // dials that brought a connection
	ended    atomic.Int64 // connections that are closed at the server
	unset    atomic.Int64 // Setups that failed
	maybe    atomic.Int64 // of dials and Setups, those that ended at the same time as their context
	checked  atomic.Int64 // checks that failed
	cut      atomic.Int64 // checks whose time was over
	goodbyes atomic.Int64
}

// faultyConn is what the server knows of one connection.
type faultyConn struct {
	number int
	conn   net.Conn
	owner  atomic.Int64           // who has it, 0 for nobody
	doomed atomic.Pointer[string] // why it must not serve any more
	said   atomic.Pointer[string] // the last line; nil once it is closed
}

func (c *faultyConn) doom(why string) { c.doomed.CompareAndSwap(nil, &why) }

var (
	errDialFault  = errors.New("no route")
	errSetupFault = errors.New("wrong password")
	errCheckFault = errors.New("not well")
)

// newFaultyServer makes one that is reached in memory, over TCP or over TLS.
func newFaultyServer(t testing.TB, how string, seed uint64) *faultyServer {
	s := &faultyServer{t: t, seed: seed}
	if how == "memory" {
		s.open = func(context.Context) (net.Conn, error) {
			near, far := net.Pipe()
			s.accept(far)
			return near, nil
		}
		return s
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	if how == "TLS" {
		ca := newAuthority(t, "server.example")
		l = tls.NewListener(l, &tls.Config{Certificates: ca.server.Certificates})
		s.tls = &tls.Config{RootCAs: ca.client.RootCAs, ServerName: "server.example", ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	}
	s.open = func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}
	s.running.Go(func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.accept(c)
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.running.Wait()
	})
	return s
}

func (s *faultyServer) accept(conn net.Conn) {
	s.mu.Lock()
	c := &faultyConn{number: len(s.conns), conn: conn}
	c.said.Store(new(string))
	s.conns = append(s.conns, c)
	s.mu.Unlock()
	s.running.Go(func() { // ends with either end
		s.serve(c)
		c.conn.Close()
		c.said.Store(nil)
		s.ended.Add(1)
	})
}

func (s *faultyServer) serve(c *faultyConn) {
	r := rand.New(rand.NewPCG(s.seed, uint64(c.number)))
	for lines := bufio.NewScanner(c.conn); lines.Scan(); {
		line := lines.Text()
		c.said.Store(&line)
		what, _, _ := strings.Cut(line, " ")
		switch fault := r.IntN(1000); {
		case what == "setup" && fault < 30, what == "check" && fault < 60:
			c.doom("it failed its " + what)
			line = "no"
		case what != "use" && fault == 999: // silence, until somebody gives up
			c.doom("it was silent at its " + what)
			lines.Scan()
			return
		case what == "use" && fault < 5:
			c.doom("the server hung up")
			return
		case what == "setup":
			line = fmt.Sprint("setup ", c.number)
		case what == "bye":
			s.goodbyes.Add(1)
			c.doom("it said goodbye")
		case what == "use":
			if why := c.doomed.Load(); why != nil {
				s.t.Errorf("connection %d serves, and %s", c.number, *why)
			}
		}
		if _, err := fmt.Fprintln(c.conn, line); err != nil {
			return
		}
	}
}

// stillOpen are the connections that nobody closed, with what was said last.
func (s *faultyServer) stillOpen() (open []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if said := c.said.Load(); said != nil {
			open = append(open, fmt.Sprintf("%d after %q", c.number, *said))
		}
	}
	return open
}

// all is how many connections reached the server.
func (s *faultyServer) all() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// local is the configuration of a pool for it.
func (s *faultyServer) local(limits Limits) LocalConfig {
	return LocalConfig{
		Dial: s.dial, TLS: s.tls, Limits: limits,
		Setup: s.setup, Check: s.check, Goodbye: saying("bye"),
		CheckEvery: 1, CheckAtGet: time.Millisecond,
		ConnectTimeout: 300 * time.Millisecond, CheckTimeout: 300 * time.Millisecond, GoodbyeTimeout: 300 * time.Millisecond,
		MinInterval: 5 * time.Millisecond,
	}
}

func (s *faultyServer) dial(ctx context.Context) (net.Conn, error) {
	if rand.IntN(40) == 0 {
		return nil, errDialFault
	}
	conn, err := s.open(ctx)
	if err == nil {
		s.dialed.Add(1)
	}
	return conn, err
}

func (s *faultyServer) setup(ctx context.Context, c *Conn) error {
	answer, err := askLine(c, "setup")
	number := 0
	if err == nil {
		if _, bad := fmt.Sscanf(answer, "setup %d", &number); bad != nil {
			err = fmt.Errorf("%w: %s", errSetupFault, answer)
		}
	}
	switch {
	case ctx.Err() != nil:
		s.maybe.Add(1)
	case err != nil:
		s.unset.Add(1)
	}
	if err == nil {
		s.mu.Lock()
		c.SetValue(s.conns[number])
		s.mu.Unlock()
	}
	return err
}

func (s *faultyServer) check(ctx context.Context, c *Conn) error {
	answer, err := askLine(c, "check")
	if err == nil && answer != "check" {
		err = errCheckFault
	}
	switch {
	case endOf(ctx) != nil:
		s.cut.Add(1)
	case err != nil:
		s.checked.Add(1)
	}
	return err
}

// requireAllClosed holds the server's count against the pool's, once that is closed.
func (s *faultyServer) requireAllClosed(p *Pool) {
	t := s.t
	stats := p.Stats()
	closed := func() bool { // dials that were given up may have reached the server too
		return s.dialed.Load() <= int64(s.all()) && s.ended.Load() == int64(s.all())
	}
	if !assert.Eventually(t, closed, 10*time.Second, time.Millisecond) {
		t.Fatalf("%d dialed, %d reached the server, open there are %v; %+v", s.dialed.Load(), s.all(), s.stillOpen(), stats)
	}
	requireBooks(t, p)
	require.Zero(t, stats.Idle+stats.Out+stats.Checking+stats.Waiting+stats.Dialing, "%+v", stats)
	require.Equal(t, stats.Created, sumClosed(stats))
	require.LessOrEqual(t, stats.Created, uint64(s.dialed.Load()))
	require.InDelta(t, s.unset.Load(), stats.SetupFailures, float64(s.maybe.Load()))
	const between = 3 // of the hook's return and the pool's look at the time
	require.InDelta(t, s.checked.Load(), stats.CheckFailures, float64(s.cut.Load()+between))
	require.LessOrEqual(t, stats.CheckFailures, stats.Checks)
}
