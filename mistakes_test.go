package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// These are the mistakes that pools written for one program make, each as a
// scenario that tells what went wrong. A pool of the kind that people write fails
// every one of them, which shows that the scenarios can tell; a [Group] passes all.

// anyPool is what both can do.
type anyPool interface {
	get(ctx context.Context, key string) (net.Conn, error)
	put(key string, conn net.Conn)
	keys() int // how many keys something is kept for
	stop()     // ends it, and waits for what it waits for
}

// sizes of the pools that the scenarios look at.
const (
	mistakesOpen    = 2                     // connections for each key
	mistakesWaiters = 10                    // who may wait
	mistakesUnused  = 50 * time.Millisecond // for a key
)

// naivePool is a good-natured attempt: a bucket of idle connections for each key,
// dialed when it is empty, put back when somebody is done, and closed at the end.
type naivePool struct {
	dial  func(context.Context) (net.Conn, error)
	setup func(net.Conn) error

	mu      sync.Mutex
	buckets map[string]chan net.Conn
	places  map[string]chan struct{} // one for each connection that is out
}

func newNaivePool(dial func(context.Context) (net.Conn, error), setup func(net.Conn) error) anyPool {
	return &naivePool{dial: dial, setup: setup, buckets: map[string]chan net.Conn{}, places: map[string]chan struct{}{}}
}

func (n *naivePool) bucket(key string) (idle chan net.Conn, places chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.buckets[key] == nil {
		n.buckets[key] = make(chan net.Conn, mistakesOpen)
		n.places[key] = make(chan struct{}, mistakesOpen)
	}
	return n.buckets[key], n.places[key]
}

func (n *naivePool) get(ctx context.Context, key string) (net.Conn, error) {
	idle, places := n.bucket(key)
	select {
	case places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case conn := <-idle:
		return conn, nil
	default:
	}
	conn, err := n.dial(ctx)
	if err == nil {
		err = n.setup(conn)
	}
	if err != nil {
		<-places
		return nil, err
	}
	return conn, nil
}

func (n *naivePool) put(key string, conn net.Conn) {
	idle, places := n.bucket(key)
	select {
	case idle <- conn:
	default:
		conn.Close()
	}
	<-places
}

func (n *naivePool) keys() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.buckets)
}

func (n *naivePool) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, idle := range n.buckets {
		for len(idle) > 0 {
			(<-idle).Close()
		}
	}
}

// groupPool is ours.
type groupPool struct{ *Group }

func newGroupPool(dial func(context.Context) (net.Conn, error), setup func(net.Conn) error) anyPool {
	g, err := NewGroup(GroupConfig{
		New: func(string) (LocalConfig, error) {
			return LocalConfig{
				Dial: dial, Setup: func(_ context.Context, c *Conn) error { return setup(c) },
				Limits: Limits{MinCap: -1, MaxOpen: mistakesOpen, MaxWaiters: mistakesWaiters},
			}, nil
		},
		KeepUnused: mistakesUnused,
	})
	if err != nil {
		panic(err)
	}
	return groupPool{g}
}

func (g groupPool) get(ctx context.Context, key string) (net.Conn, error) {
	c, err := g.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (g groupPool) put(_ string, conn net.Conn) { g.Put(conn) }
func (g groupPool) keys() int                   { return len(g.Keys()) }
func (g groupPool) stop()                       { _ = g.Drain(context.Background()) }

// sockets counts connections to a server that answers lines.
type sockets struct {
	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex
	server map[net.Conn]bool // its ends; whether the server closed it
	opened []*countedSocket
}

// countedSocket is a client's end.
type countedSocket struct {
	*net.TCPConn
	once   sync.Once
	closed chan struct{}
}

func (c *countedSocket) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.TCPConn.Close()
}

func newSockets(t *testing.T) *sockets {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &sockets{listener: l, server: map[net.Conn]bool{}}
	s.running.Go(func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.server[c] = false
			s.mu.Unlock()
			s.running.Go(func() { // ends with either end
				_, _ = io.Copy(c, c)
				c.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.hangUp()
		s.mu.Lock()
		for _, c := range s.opened { // what the naive pool left
			c.Close()
		}
		s.mu.Unlock()
		s.running.Wait()
	})
	return s
}

func (s *sockets) dial(ctx context.Context) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.listener.Addr().String())
	if err != nil {
		return nil, err
	}
	c := &countedSocket{TCPConn: conn.(*net.TCPConn), closed: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened = append(s.opened, c)
	return c, nil
}

// hangUp closes all connections at the server, as one that restarts does.
func (s *sockets) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.server {
		c.Close()
	}
}

// left is how many sockets the client has not closed.
func (s *sockets) left() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.opened {
		select {
		case <-c.closed:
		default:
			n++
		}
	}
	return n
}

// opener makes a pool of one of the two kinds.
type opener func(dial func(context.Context) (net.Conn, error), setup func(net.Conn) error) anyPool

// mistakes are the scenarios. Each makes a pool, and returns what went wrong.
var mistakes = []struct {
	name  string
	shows func(s *sockets, open opener) error
}{
	{"sockets leak when setup fails", leaksWhenSetupFails},
	{"a broken connection is returned to the pool", returnsBroken},
	{"a late answer is the next user's", mixesAnswers},
	{"who waits is not bounded", letsAllWait},
	{"empty buckets are kept for ever", keepsEmptyBuckets},
	{"shutdown waits for nothing", waitsForNothing},
	{"what is put back after shutdown stays open", keepsAfterShutdown},
	{"a stale connection harms its next holder", harmsNextHolder},
}

// TestMistakes: a naive pool makes each of them, ours none.
func TestMistakes(t *testing.T) {
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			naive := m.shows(newSockets(t), newNaivePool)
			t.Log("the naive pool:", naive)
			require.Error(t, naive)
			require.NoError(t, m.shows(newSockets(t), newGroupPool))
		})
	}
}

func noSetup(net.Conn) error { return nil }

// patience is how long a scenario waits for what should happen: the naive pool
// keeps it waiting that long.
const patience = 2 * time.Second

func until(ok func() bool) bool {
	for begun := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > patience {
			return false
		}
	}
	return true
}

// getSoon is get for who does not wait long.
func getSoon(p anyPool) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return p.get(ctx, "key")
}

func leaksWhenSetupFails(s *sockets, open opener) error {
	p := open(s.dial, func(net.Conn) error { return errBroken })
	for range 5 {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		_, err := p.get(ctx, "key")
		cancel()
		if err == nil {
			return errors.New("a connection whose setup failed is handed out")
		}
	}
	p.stop()
	if n := s.left(); n > 0 {
		return fmt.Errorf("setup failed, and %d sockets are left open after the end", n)
	}
	return nil
}

func returnsBroken(s *sockets, open opener) error {
	p := open(s.dial, noSetup)
	defer p.stop()
	conn, err := getSoon(p)
	if err != nil {
		return err
	}
	_, _ = askLine(conn, "hello")
	s.hangUp()
	_, _ = askLine(conn, "are you there?") // its user gives up, and puts it back
	p.put("key", conn)
	if conn, err = getSoon(p); err != nil {
		return err
	}
	defer p.put("key", conn)
	if _, err = askLine(conn, "hello"); err != nil {
		return fmt.Errorf("the next user gets the broken one: %w", err)
	}
	return nil
}

func mixesAnswers(s *sockets, open opener) error {
	p := open(s.dial, noSetup)
	defer p.stop()
	conn, err := getSoon(p)
	if err != nil {
		return err
	}
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	fmt.Fprintln(conn, "yours")
	if !until(func() bool { return probe(raw) == livenessReadable }) {
		return errors.New("no answer came")
	}
	p.put("key", conn) // by somebody who does not want the answer any more
	if conn, err = getSoon(p); err != nil {
		return err
	}
	defer p.put("key", conn)
	answer, err := askLine(conn, "mine")
	if err == nil && answer != "mine" {
		err = fmt.Errorf("the next user gets the answer %q", answer)
	}
	return err
}

func letsAllWait(s *sockets, open opener) error {
	const getters = 3 * mistakesWaiters
	p := open(s.dial, noSetup)
	defer p.stop()
	for range mistakesOpen {
		conn, err := getSoon(p)
		if err != nil {
			return err
		}
		defer p.put("key", conn)
	}
	ctx, cancel := context.WithCancel(context.Background())
	refused := make(chan error, getters)
	var waiting sync.WaitGroup
	for range getters {
		waiting.Go(func() { // ends with ctx
			conn, err := p.get(ctx, "key")
			if err == nil {
				p.put("key", conn)
			}
			refused <- err
		})
	}
	bounded := until(func() bool { return len(refused) >= getters-mistakesWaiters })
	n := getters - len(refused)
	cancel()
	waiting.Wait()
	if !bounded {
		return fmt.Errorf("%d wait, for a server that may never answer", n)
	}
	return nil
}

func keepsEmptyBuckets(s *sockets, open opener) error {
	const names = 20
	p := open(s.dial, noSetup)
	defer p.stop()
	for i := range names {
		key := fmt.Sprint("user ", i)
		conn, err := p.get(context.Background(), key)
		if err != nil {
			return err
		}
		p.put(key, conn)
	}
	if !until(func() bool { return p.keys() == 0 && s.left() == 0 }) {
		return fmt.Errorf("%d keys that nobody uses any more are kept, with %d sockets", p.keys(), s.left())
	}
	return nil
}

func waitsForNothing(s *sockets, open opener) error {
	p := open(s.dial, noSetup)
	conn, err := getSoon(p)
	if err != nil {
		return err
	}
	var done atomic.Bool
	var working sync.WaitGroup
	working.Go(func() {
		time.Sleep(100 * time.Millisecond) // the work
		done.Store(true)
		p.put("key", conn)
	})
	p.stop()
	early := !done.Load()
	working.Wait()
	if early {
		return errors.New("shutdown is over, and a connection is in use still")
	}
	if n := s.left(); n > 0 {
		return fmt.Errorf("shutdown is over, and %d sockets are open", n)
	}
	return nil
}

func keepsAfterShutdown(s *sockets, open opener) error {
	p := open(s.dial, noSetup)
	conn, err := getSoon(p)
	if err != nil {
		return err
	}
	over := make(chan struct{})
	go func() { // ends with the put, at the latest
		defer close(over)
		p.stop()
	}()
	begun := until(func() bool {
		select {
		case <-over:
			return true
		default:
		}
		other, err := getSoon(p)
		if err == nil {
			p.put("key", other)
		}
		return errors.Is(err, net.ErrClosed)
	})
	p.put("key", conn)
	<-over
	switch n := s.left(); {
	case !begun:
		return errors.New("shutdown does not begin")
	case n > 0:
		return fmt.Errorf("%d sockets are open for ever", n)
	}
	return nil
}

func harmsNextHolder(s *sockets, open opener) error {
	p := open(s.dial, noSetup)
	defer p.stop()
	first, err := getSoon(p)
	if err != nil {
		return err
	}
	p.put("key", first)
	second, err := getSoon(p)
	if err != nil {
		return err
	}
	defer p.put("key", second)
	first.Close() // by somebody's deferred call, say
	if _, err := askLine(second, "hello"); err != nil {
		return fmt.Errorf("a former holder's Close ends it: %w", err)
	}
	return nil
}
