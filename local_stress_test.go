package pool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestStressLocal lets everything happen to single-ended pools at once: users who
// end their uses in every way, a server that fails in every way, all reuse rules,
// and the pool's end in the middle of it. Nothing is leaked, counted to the last
// connection, at the server too; nobody shares one, and none serves after it failed.
func TestStressLocal(t *testing.T) {
	const users = 12
	ends := []func(*Pool){
		func(*Pool) {},
		func(p *Pool) { p.Close() },
		func(p *Pool) { _ = p.Drain(context.Background()) },
		func(p *Pool) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			_ = p.Drain(ctx)
		},
	}
	variant := 0
	for _, how := range []string{"memory", "TCP", "TLS"} {
		for _, order := range []Order{NewestFirst, OldestFirst} {
			for _, full := range []WhenFull{WaitWhenFull, FailWhenFull, OverflowWhenFull} {
				end := variant
				variant++
				t.Run(fmt.Sprintf("%s, order %d, when full %d, end %d", how, order, full, end%len(ends)), func(t *testing.T) {
					seed := rand.Uint64()
					t.Logf("seed %d", seed)
					s := newFaultyServer(t, how, seed)
					cfg := s.local(Limits{
						MinCap: 2, MaxOpen: 6, MaxCap: 5, MaxIdle: 4, MaxUses: 9, MaxAge: 80 * time.Millisecond, IdleTimeout: 10 * time.Millisecond,
						Order: order, WhenFull: full, MaxWaiters: 8, AcquireTimeout: 50 * time.Millisecond,
					})
					if order == OldestFirst {
						cfg.CheckAtGet = -1
					}
					p := keep(t)(NewLocal(cfg))
					x := &localStress{t: t, s: s, p: p}
					var over atomic.Bool
					more := func() bool { return !over.Load() }
					var work sync.WaitGroup
					for i := range uint64(users) {
						work.Go(func() { x.user(rand.New(rand.NewPCG(seed, i)), more) })
					}
					work.Go(func() { x.owner(rand.New(rand.NewPCG(seed, users)), more, end%2 == 0) })
					work.Go(func() { x.inspect(more) })
					for begun := time.Now(); time.Since(begun) < 10*time.Second && (time.Since(begun) < 180*time.Millisecond || x.used.Load() < 50); {
						time.Sleep(time.Millisecond)
					}
					ends[end%len(ends)](p)
					over.Store(true)
					work.Wait()
					p.Close()
					s.requireAllClosed(p)
					x.requireCounts(end%2 == 0)
				})
			}
		}
	}
}

// localStress is one pool under stress.
type localStress struct {
	t *testing.T
	s *faultyServer
	p *Pool

	used, discarded, closed, fresh atomic.Int64
}

// expects are the errors that a user meets.
func (x *localStress) expects(err error) bool {
	return expected(err) || isTimeout(err) || errors.Is(err, errDialFault) || errors.Is(err, errSetupFault)
}

// user takes connections in every way, and ends each use in any.
func (x *localStress) user(r *rand.Rand, more func() bool) {
	seen := localID(1)
	for n := 0; more(); n++ {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(30_000))*time.Microsecond)
		if r.IntN(4) == 0 {
			ctx, cancel = context.WithCancel(context.Background())
			timer := time.AfterFunc(time.Duration(r.IntN(3000))*time.Microsecond, cancel)
			defer timer.Stop()
		}
		c, err := x.take(ctx, r, seen)
		if c != nil {
			seen = c.entry.id
			x.use(r, c, n)
		}
		cancel()
		if err != nil && !x.expects(err) {
			x.t.Errorf("unexpected: %v", err)
		}
		if errors.Is(err, ErrFull) || errors.Is(err, ErrTooManyWaiters) || errors.Is(err, ErrClosed) {
			time.Sleep(100 * time.Microsecond)
		}
	}
}

// take takes a connection in one of the ways there are; Do is all of it.
func (x *localStress) take(ctx context.Context, r *rand.Rand, seen ID) (*Conn, error) {
	switch n := r.IntN(40); {
	case n == 0:
		x.fresh.Add(1) // without an end of its own, so that what failed is the server's doing
		return x.p.Fresh(context.Background())
	case n < 4:
		return x.p.Take(ctx, seen)
	case n < 8:
		_, conn, err := x.p.ServerGet(time.Duration(r.IntN(3000)-1000) * time.Microsecond)
		c, _ := conn.(*Conn)
		return c, err
	case n < 12:
		return x.p.Request().Wait(ctx)
	case n < 20:
		return nil, x.do(ctx, r)
	}
	return x.p.Get(ctx)
}

var errKept = errors.New("an answer that says no")

func (x *localStress) do(ctx context.Context, r *rand.Rand) (err error) {
	how := r.IntN(24)
	defer func() {
		if recover() != nil && how != 0 {
			x.t.Error("a panic")
		}
		if errors.Is(err, errKept) || errors.Is(err, errBroken) {
			err = nil
		}
	}()
	return x.p.Do(ctx, func(conn net.Conn) error {
		c := conn.(*Conn)
		if !x.speak(r, c) || how < 2 {
			x.release(c, "it was discarded by Do")
			x.discarded.Add(1)
			if how == 0 {
				panic("of the user")
			}
			return errBroken
		}
		x.release(c, "")
		if how == 2 {
			return Keep(errKept)
		}
		return nil
	})
}

// number is what the server knows of c.
func (x *localStress) number(c *Conn) *faultyConn {
	f, ok := ValueOf[*faultyConn](c)
	if !ok {
		return nil // flushed
	}
	return f
}

// speak owns the connection, says something on it, and reports whether it answers.
func (x *localStress) speak(r *rand.Rand, c *Conn) bool {
	f := x.number(c)
	if f == nil {
		return false
	}
	if !f.owner.CompareAndSwap(0, 1) {
		x.t.Errorf("connection %d is used by two", f.number)
	}
	line := fmt.Sprint("use ", f.number, r.Uint64())
	answer, err := askLine(c, line)
	if err == nil && answer != line {
		x.t.Errorf("%q answers %q", answer, line)
	}
	x.used.Add(1)
	return err == nil
}

// release gives the connection up; why says that it must never serve again.
func (x *localStress) release(c *Conn, why string) {
	if f := x.number(c); f != nil {
		if why != "" {
			f.doom(why)
		}
		f.owner.Store(0)
	}
}

// use uses a connection and ends that in any way.
func (x *localStress) use(r *rand.Rand, c *Conn, n int) {
	well := x.speak(r, c)
	if r.IntN(3) == 0 {
		time.Sleep(time.Duration(r.IntN(1500)) * time.Microsecond)
	}
	id := c.ID()
	switch how := r.IntN(40); {
	case how == 0 || !well && how < 30:
		x.release(c, "it was discarded")
		x.discarded.Add(1)
		x.p.Discard(id, c, errBroken)
	case how == 1:
		x.release(c, "its user closed it")
		x.closed.Add(1)
		c.Close()
	case how == 2:
		x.release(c, "it was put back under another ID")
		x.closed.Add(1)
		x.p.Put("AAAAAAAA", c)
	case how == 3:
		x.p.Reserve(c)
		x.release(c, "")
		x.p.Put(id, wrapper{c})
		x.p.Put(id, c)
		c.Close()
	case how == 4 && c.entry.raw != nil && well: // an answer that nobody reads
		fmt.Fprintln(c, "use and leave")
		for begun := time.Now(); time.Since(begun) < 100*time.Millisecond && probe(c.entry.raw) == livenessQuiet; {
			time.Sleep(10 * time.Microsecond)
		}
		x.release(c, "it was put back with an answer unread")
		x.p.Put(id, c)
	case how == 5:
		x.release(c, "")
		var both sync.WaitGroup
		both.Go(func() { x.p.Put(id, c) })
		x.p.Put(id, c)
		both.Wait()
	default:
		x.release(c, "")
		x.p.Put(id, c)
	}
}

// owner looks after the pool, as its sweeps and its owner's calls do, only more
// often.
func (x *localStress) owner(r *rand.Rand, more func() bool, flush bool) {
	s := sweeper{pool: x.p}
	for more() {
		switch n := r.IntN(100); {
		case n < 30:
			checkDue(x.p, time.Now())
		case n < 60:
			s.sweep(time.Now())
		case n < 64:
			x.p.Clean()
		case n == 64 && flush:
			x.p.Flush()
		case n < 70:
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(5))*time.Millisecond)
			if err := x.p.WaitReady(ctx, r.IntN(4)); err != nil && !x.expects(err) {
				x.t.Errorf("WaitReady: %v", err)
			}
			cancel()
		default:
			time.Sleep(time.Duration(r.IntN(1000)) * time.Microsecond)
		}
	}
}

// inspect checks what holds at every instant.
func (x *localStress) inspect(more func() bool) {
	look := func(p *Pool) error {
		s := p.Stats()
		p.mu.Lock()
		defer p.mu.Unlock()
		open := p.idle.len + p.checking + p.outLocked() - p.singles
		switch {
		case s.Created != uint64(s.Idle+s.Checking+s.Out)+sumClosed(s):
			return fmt.Errorf("the books: %+v", s)
		case open > p.limits.MaxOpen || open < 0 || p.singles < 0 || p.checking < 0 || p.reserved < 0:
			return fmt.Errorf("open %d, single %d, checking %d, reserved %d", open, p.singles, p.checking, p.reserved)
		case p.waiters.len > 0 && p.idle.len > 0:
			return fmt.Errorf("%d wait while %d are idle", p.waiters.len, p.idle.len)
		case p.limits.WhenFull == OverflowWhenFull && p.singles > 20, p.waiting > p.limits.MaxWaiters+p.limits.MaxOpen:
			return fmt.Errorf("%d single, %d wait", p.singles, p.waiting)
		}
		return nil
	}
	for more() {
		if err := look(x.p); err != nil {
			x.t.Error(err)
			return
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// requireCounts holds what the users did against the pool's counters. A Flush
// takes connections from their holders, and the count with them.
func (x *localStress) requireCounts(flushed bool) {
	stats := x.p.Stats()
	closed := stats.Closed
	x.t.Logf("%d uses, %d of %d checks failed, closed %v", x.used.Load(), stats.CheckFailures, stats.Checks, closed)
	require.Positive(x.t, x.used.Load())
	if flushed {
		require.LessOrEqual(x.t, closed[ClosedDiscarded], uint64(x.discarded.Load()))
		require.LessOrEqual(x.t, closed[ClosedByHolder], uint64(x.closed.Load()))
		return
	}
	require.EqualValues(x.t, x.discarded.Load(), closed[ClosedDiscarded])
	require.EqualValues(x.t, x.closed.Load(), closed[ClosedByHolder])
}
