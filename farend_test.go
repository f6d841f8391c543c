package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// farEnd is the server that the tests of a client pool script.
type farEnd struct {
	// answer is what becomes of the nth dial, from 0. Nil: it connects.
	answer func(ctx context.Context, n int) (net.Conn, error)

	mu       sync.Mutex
	attempts []time.Time
	peers    map[string]net.Conn // the server's ends, by ID
	current  int                 // dials under way
	most     int                 // of them at once
}

// newClientPool makes a plain client pool that dials f and runs.
func (f *farEnd) newClientPool(t *testing.T, cfg ClientConfig) *Pool {
	return run(t, f.newIdlePool(t, cfg))
}

// newIdlePool makes one that does not run yet.
func (f *farEnd) newIdlePool(t *testing.T, cfg ClientConfig) *Pool {
	cfg.Dial = f.dial
	cfg.Security.TLS = TLSPlain
	return keep(t)(NewClient(cfg))
}

func (f *farEnd) dial(ctx context.Context) (net.Conn, error) {
	f.mu.Lock()
	n := len(f.attempts)
	f.attempts = append(f.attempts, time.Now())
	f.current++
	f.most = max(f.most, f.current)
	answer := f.answer
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.current--
		f.mu.Unlock()
	}()
	if answer == nil {
		return f.connect(n), nil
	}
	return answer(ctx, n)
}

// connect makes a connection whose server gives it the nth ID.
func (f *farEnd) connect(n int) net.Conn {
	id := fmt.Sprintf("conn%04d", n%10000)
	conn, peer := f.say(id)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.peers == nil {
		f.peers = make(map[string]net.Conn)
	}
	f.peers[id] = peer
	return conn
}

// say makes a connection whose server says text.
func (f *farEnd) say(text string) (conn, peer net.Conn) {
	conn, peer = net.Pipe()
	go peer.Write([]byte(text)) // ends when it is read or either end is closed
	return conn, peer
}

func (f *farEnd) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.attempts)
}

// script changes what becomes of dials from now on.
func (f *farEnd) script(answer func(ctx context.Context, n int) (net.Conn, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

var errNoRoute = errors.New("no route to the server")

func refuse(context.Context, int) (net.Conn, error) { return nil, errNoRoute }

// hang is a dial that heeds its context and nothing else.
func hang(ctx context.Context, _ int) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// requireClosedBy checks that the pool closed a connection of its own.
func requireClosedBy(t *testing.T, peer net.Conn) {
	t.Helper()
	_, err := peer.Write([]byte("x"))
	require.True(t, hungUp(err), "%v", err)
}
