package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// inspect samples the books of pools until stop is called, and checks what
// holds at every instant. It reads the books itself, because Waiting of Stats
// also counts those who wait for an ID.
func inspect(t *testing.T, pools ...*Pool) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	samples := 0
	// Dials that were under way when others took the last places still enter a
	// client pool; the tests bring at most this many at once.
	const excess = 4
	look := func(p *Pool) error {
		s := p.Stats()
		if s.Created != uint64(s.Idle+s.Out)+sumClosed(s) {
			return fmt.Errorf("created %d, idle %d, out %d, closed %v", s.Created, s.Idle, s.Out, s.Closed)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		switch {
		case p.waiters.len > 0 && p.idle.len > 0:
			return fmt.Errorf("%d wait while %d are idle", p.waiters.len, p.idle.len)
		case p.idle.len > p.limits.MaxCap+excess || p.reserved < 0 || p.admitting < 0:
			return fmt.Errorf("idle %d, reserved %d, admitting %d", p.idle.len, p.reserved, p.admitting)
		}
		waiting := p.waiters.len
		for _, q := range p.takers {
			waiting += q.len
		}
		if waiting != p.waiting {
			return fmt.Errorf("%d wait, and %d are counted", waiting, p.waiting)
		}
		for id := range p.takers {
			if e := p.byID[id]; e != nil && e.state == stateIdle {
				return fmt.Errorf("somebody waits for %s, which is idle", id)
			}
		}
		return nil
	}
	go func() { // ends with done
		defer close(ended)
		tick := time.NewTicker(200 * time.Microsecond)
		defer tick.Stop()
		for {
			for _, p := range pools {
				if err := look(p); err != nil {
					t.Error(err)
					return
				}
			}
			samples++
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		close(done)
		<-ended
		t.Logf("%d samples", samples)
	}
}

// expected are the errors that users of a pool under stress meet.
func expected(err error) bool {
	return errors.Is(err, ErrTimeout) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrClosed) ||
		errors.Is(err, context.Canceled) || errors.Is(err, ErrTooManyWaiters) || errors.Is(err, ErrFull)
}

// anyEnd does one of the things a holder may do at the end of its use.
func anyEnd(r *rand.Rand, p *Pool, c *Conn) {
	id := c.ID()
	switch r.IntN(12) {
	case 0:
		c.Close()
	case 1:
		p.Put(id, wrapper{c})
		p.Put(id, c)
	case 2:
		p.Put("AAAAAAAA", c)
	case 3:
		p.Reserve(c)
		p.Put(id, c)
		p.Reserve(c)
	case 4:
		var both sync.WaitGroup
		both.Go(func() { p.Put(id, c) })
		c.Close()
		both.Wait()
	case 5:
		p.Reserve(c)
		c.Close()
	default:
		p.Put(id, c)
	}
}

// user gets, uses and returns until the work is done.
func user(t *testing.T, p *Pool, seed uint64, more func() bool, ids *sync.Map) {
	r := rand.New(rand.NewPCG(seed, 1))
	for more() {
		var c *Conn
		var err error
		switch r.IntN(4) {
		case 0:
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(2000))*time.Microsecond)
			c, err = p.Get(ctx)
			cancel()
		case 1:
			var conn net.Conn
			_, conn, err = p.ServerGet(time.Duration(r.IntN(2000)-500) * time.Microsecond)
			c, _ = conn.(*Conn)
		default: // one of those that were seen
			id := "AAAAAAAA"
			ids.Range(func(key, _ any) bool { id = key.(string); return r.IntN(4) > 0 })
			var conn net.Conn
			conn, err = p.OutgoingGet(id, time.Duration(r.IntN(1000)-200)*time.Microsecond)
			c, _ = conn.(*Conn)
		}
		if err != nil {
			if !expected(err) {
				t.Errorf("unexpected: %v", err)
			}
			continue
		}
		ids.Store(c.ID(), true)
		anyEnd(r, p, c)
	}
}

// churn adds and sweeps away, as peers and owners do.
func churn(p *Pool, seed uint64, more func() bool, bring func()) {
	r := rand.New(rand.NewPCG(seed, 2))
	s := sweeper{pool: p}
	for more() {
		switch n := r.IntN(100); {
		case n == 0:
			p.Clean()
		case n == 1:
			p.Flush()
		case n < 4 && seed == 0:
			s.sweep(time.Now()) // there is one sweeper
		case n < 6:
			p.Demand(r.IntN(10))
		default:
			bring()
		}
	}
}

// TestStressCore hammers a pool of either role in memory, and ends it in one
// of the ways in the middle of it.
func TestStressCore(t *testing.T) {
	bringServer := func(p *Pool) func() {
		return func() { p.Admit(context.Background(), newIdleConn()) }
	}
	bringClient := func(p *Pool) func() {
		return func() {
			p.mu.Lock()
			room := p.roomLocked()
			p.mu.Unlock()
			if !room {
				return // the maintainer would not have dialed
			}
			e := newEntry(newIdleConn())
			e.named(newID())
			p.adopt(e)
		}
	}
	for round, end := range map[string]func(*Pool){
		"none":  func(*Pool) {},
		"close": func(p *Pool) { p.Close() },
		"drain": func(p *Pool) { p.Drain(context.Background()) },
	} {
		reuse := Limits{MaxCap: 16, MaxIdle: 12, MaxOpen: 20, IdleTimeout: 3 * time.Millisecond, MaxAge: 20 * time.Millisecond,
			MaxUses: 9, Order: OldestFirst, MaxWaiters: 4, AcquireTimeout: time.Millisecond, WhenFull: FailWhenFull}
		for role, p := range map[string]*Pool{
			"server": newServerCore(t, 16), "client": newClientCore(t, 16), "server with limits": newLimitedCore(t, reuse),
			"client with limits": keep(t)(NewClient(ClientConfig{Reverse: true, Limits: reuse,
				Dial: func(context.Context) (net.Conn, error) { return nil, net.ErrClosed }})),
		} {
			t.Run(role+", "+round, func(t *testing.T) {
				bring := bringServer(p)
				if p.client != nil {
					bring = bringClient(p)
				}
				var seen watcher
				seen.watch(p)
				var steps atomic.Int64
				more := func() bool { return steps.Add(1) < 20_000 }
				stop := inspect(t, p)
				var ids sync.Map
				var work sync.WaitGroup
				for i := range uint64(8) {
					work.Go(func() { user(t, p, i, more, &ids) })
				}
				for i := range uint64(2) {
					work.Go(func() { churn(p, i, more, bring) })
				}
				for steps.Load() < 20_000 {
					bring()
				}
				end(p)
				work.Wait()
				stop()
				requireQuiet(t, p)
				seen.requireBooks(t, p)
			})
		}
	}
}

// requireQuiet checks the books when nobody holds or wants anything.
func requireQuiet(t *testing.T, p *Pool) {
	requireBooks(t, p)
	quiet := func() bool { // a client may be dialing still
		p.mu.Lock()
		defer p.mu.Unlock()
		n := 0
		for e := p.idle.newest; e != nil; e = e.next {
			n++
		}
		return n == p.idle.len && len(p.byID) == n && p.reserved+p.admitting == 0 &&
			len(p.takers) == 0 && p.waiters.len == 0
	}
	require.Eventually(t, quiet, 10*time.Second, time.Millisecond, "%+v", p.Stats())
}

// TestStressPair lets users run over a pair with real sockets while either
// side cleans up at random. Each use carries a pattern of its own, and every
// byte that arrives must be of that use.
func TestStressPair(t *testing.T) {
	allModes(t, func(t *testing.T, mode TLSMode) {
		p := openPair(t, mode, ServerConfig{Keys: KnownKeys(fixedKey(t)), Limits: Limits{MaxCap: 24}},
			ClientConfig{Security: Security{Key: fixedKey(t)}, Limits: Limits{MinCap: 8, MaxCap: 24},
				MinInterval: 10 * time.Millisecond, PairTimeout: 200 * time.Millisecond})
		stop := inspect(t, p.server, p.client)
		var served, broken atomic.Int64
		var users sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		begun := time.Now()
		enough := func() { // on a busy machine it takes longer
			if served.Load() > 50 && time.Since(begun) > 1200*time.Millisecond {
				cancel()
			}
		}
		for i := range uint64(12) {
			users.Go(func() {
				r := rand.New(rand.NewPCG(i, 3))
				for ctx.Err() == nil {
					switch err := useOnce(p, r); {
					case err == nil:
						served.Add(1)
					case errors.Is(err, errForeignBytes):
						t.Error(err)
					default:
						broken.Add(1)
					}
					enough()
				}
			})
		}
		users.Go(func() {
			r := rand.New(rand.NewPCG(99, 3))
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				side := []*Pool{p.server, p.client}[r.IntN(2)]
				if r.IntN(3) == 0 {
					side.Flush()
				} else {
					side.Clean()
				}
				select {
				case <-ctx.Done():
				case <-tick.C:
				}
			}
		})
		users.Wait()
		stop()
		t.Logf("%d uses, %d broken", served.Load(), broken.Load())
		require.Greater(t, served.Load(), int64(50))

		// Nobody wants anything: the two sides agree again, and the pool is full.
		require.Eventually(t, func() bool {
			a, b := p.server.Active(), p.client.Active()
			return a == b && a >= 8
		}, 10*time.Second, 10*time.Millisecond)
		requireQuiet(t, p.server)
		server, client := p.take(t)
		requireEcho(t, server, client)
		server.Close()
		client.Close()
	})
}

var errForeignBytes = errors.New("bytes of another use")

// useOnce sends a pattern from server to client and back over one connection,
// and puts both ends back, or ends the use in the middle.
func useOnce(p *pair, r *rand.Rand) error {
	id, server, err := p.server.ServerGet(time.Second)
	if err != nil {
		return err
	}
	client, err := p.client.ClientGet(id)
	if err != nil {
		server.Close()
		return err
	}
	deadline := time.Now().Add(5 * time.Second)
	server.SetDeadline(deadline)
	client.SetDeadline(deadline)
	pattern := make([]byte, 1+r.IntN(4000))
	for i := range pattern {
		pattern[i] = byte(r.Uint32())
	}
	if r.IntN(10) == 0 { // bytes that nobody reads
		server.Write(pattern)
		server.Close()
		client.Close()
		return nil
	}
	err = exchange(server, client, pattern)
	if err == nil {
		err = exchange(client, server, pattern)
	}
	if err != nil || r.IntN(10) == 0 {
		server.Close()
		client.Close()
		return err
	}
	// The client first: the server's end is then handed out only when this one
	// can be taken, or is on its way.
	p.client.Put(id, client)
	p.server.Put(id, server)
	return nil
}

func exchange(from, to net.Conn, pattern []byte) error {
	if _, err := from.Write(pattern); err != nil {
		return err
	}
	got := make([]byte, len(pattern))
	if _, err := io.ReadFull(to, got); err != nil {
		return err
	}
	if string(got) != string(pattern) {
		return errForeignBytes
	}
	return nil
}
