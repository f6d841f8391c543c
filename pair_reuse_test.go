package pool

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// reuse is a pair whose connections are used again and again: give is the side
// that hands out, take the one that takes by ID.
type reuse struct {
	*pair
	give, take *Pool
	live       atomic.Int64 // connections of the client that nobody has closed
}

// liveConn counts itself out of those that are open.
type liveConn struct {
	*net.TCPConn
	live   *atomic.Int64
	closed sync.Once
}

func (c *liveConn) Close() error {
	c.closed.Do(func() { c.live.Add(-1) })
	return c.TCPConn.Close()
}

// openReuse makes one with at most size connections; limits are those of the side
// that hands out.
func openReuse(t *testing.T, mode TLSMode, reverse bool, size int, limits Limits) *reuse {
	r := new(reuse)
	var address string
	both := Limits{MinCap: size / 2, MaxCap: size, MaxOpen: size}
	limits.MinCap, limits.MaxCap = both.MinCap, size
	server := ServerConfig{Reverse: reverse, Limits: limits}
	client := ClientConfig{Reverse: reverse, Limits: both, PairTimeout: time.Minute, MinInterval: 10 * time.Millisecond,
		Dial: func(ctx context.Context) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
			if err != nil {
				return nil, err
			}
			r.live.Add(1)
			return &liveConn{TCPConn: conn.(*net.TCPConn), live: &r.live}, nil
		}}
	if reverse {
		server.Limits = Limits{MaxCap: 16 * size} // room for those that it does not know to be closed yet
		limits.MaxOpen = size
		client.Limits = limits
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address = l.Addr().String()
	server.Listener, server.TLS = l, mode
	client.Security.TLS = mode
	t.Cleanup(func() { require.Zero(t, r.live.Load(), "connections that nobody closed") })
	r.pair = &pair{server: run(t, keep(t)(NewServer(server))), client: run(t, keep(t)(NewClient(client))), listener: l}
	r.give, r.take = r.pair.server, r.pair.client
	if reverse {
		r.give, r.take = r.take, r.give
	}
	return r
}

// eachWay runs a test with and without TLS, and with either side handing out.
func eachWay(t *testing.T, f func(t *testing.T, mode TLSMode, reverse bool)) {
	for _, mode := range []TLSMode{TLSPlain, TLSSelfSigned} {
		for _, reverse := range []bool{false, true} {
			t.Run(fmt.Sprintf("mode %s, reverse %v", mode, reverse), func(t *testing.T) { f(t, mode, reverse) })
		}
	}
}

// both takes one connection, both ends of it.
func (r *reuse) both() (given, taken *Conn, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if given, err = r.give.Get(ctx); err != nil {
		return nil, nil, fmt.Errorf("get: %w", err)
	}
	conn, err := r.take.OutgoingGet(given.ID(), 20*time.Second)
	if err != nil {
		given.Close()
		return nil, nil, fmt.Errorf("take: %w", err)
	}
	return given, conn.(*Conn), nil
}

// TestPairReuseInAnyOrder: the same connection is paired again, whichever end
// comes back first, and also if its next user has spoken by then.
func TestPairReuseInAnyOrder(t *testing.T) {
	orders := map[string]func(t *testing.T, r *reuse, given, taken *Conn){
		"the giving side first": func(t *testing.T, r *reuse, given, taken *Conn) {
			r.give.Put(given.ID(), given)
			r.take.Put(taken.ID(), taken)
		},
		"the taking side first": func(t *testing.T, r *reuse, given, taken *Conn) {
			r.take.Put(taken.ID(), taken)
			r.give.Put(given.ID(), given)
		},
		"both at once": func(t *testing.T, r *reuse, given, taken *Conn) {
			var puts sync.WaitGroup
			puts.Go(func() { r.take.Put(taken.ID(), taken) })
			puts.Go(func() { r.give.Put(given.ID(), given) })
			puts.Wait()
		},
		"the next user spoke before": func(t *testing.T, r *reuse, given, taken *Conn) {
			next := r.speakEarly(t, given)
			r.take.Put(taken.ID(), taken)
			conn, err := r.take.ClientGet(next.ID())
			requireHeard(t, conn, err)
			r.take.Put(next.ID(), conn)
			r.give.Put(next.ID(), next)
		},
		"the next user spoke, and is waited for": func(t *testing.T, r *reuse, given, taken *Conn) {
			next := r.speakEarly(t, given)
			type result struct {
				conn net.Conn
				err  error
			}
			got := make(chan result, 1)
			go func() { // ends with the Put below
				conn, err := r.take.OutgoingGet(next.ID(), 20*time.Second)
				got <- result{conn, err}
			}()
			require.Eventually(t, func() bool { return r.take.Stats().Waiting == 1 }, 10*time.Second, time.Millisecond)
			r.take.Put(taken.ID(), taken)
			g := <-got
			requireHeard(t, g.conn, g.err)
			r.give.Put(next.ID(), next)
			r.take.Put(next.ID(), g.conn)
		},
	}
	eachWay(t, func(t *testing.T, mode TLSMode, reverse bool) {
		r := openReuse(t, mode, reverse, 1, Limits{})
		var id string
		for round := range 5 {
			for name, put := range orders {
				given, taken, err := r.both()
				require.NoError(t, err)
				if id == "" {
					id = given.ID()
				}
				require.Equal(t, id, given.ID(), "round %d, %s", round, name)
				requireEcho(t, given, taken)
				put(t, r, given, taken)
			}
		}
		for _, p := range []*Pool{r.give, r.take} {
			s := p.Stats()
			require.EqualValues(t, 1, s.Created)
			require.Equal(t, 1, s.Idle)
			require.Empty(t, s.Closed)
		}
	})
}

// speakEarly puts the giving side's end back and gives it to its next user, whose
// bytes are at the other end when it returns.
func (r *reuse) speakEarly(t *testing.T, given *Conn) (next *Conn) {
	r.give.Put(given.ID(), given)
	next = mustGet(t, r.give)
	require.Equal(t, given.ID(), next.ID())
	_, err := next.Write([]byte("early"))
	require.NoError(t, err)
	id, err := ParseID(next.ID())
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		hasBytes, known := r.take.Peek(id)
		return hasBytes && known
	}, 10*time.Second, time.Millisecond)
	return next
}

func requireHeard(t *testing.T, conn net.Conn, err error) {
	t.Helper()
	require.NoError(t, err)
	got := make([]byte, 5)
	_, err = conn.Read(got)
	require.NoError(t, err)
	require.Equal(t, "early", string(got))
}

// use is one exchange with bytes of its own, and both ends back in a random order.
func (r *reuse) use(random *rand.Rand, late *sync.WaitGroup) error {
	given, taken, err := r.both()
	if err != nil {
		return err
	}
	deadline := time.Now().Add(20 * time.Second)
	given.SetDeadline(deadline)
	taken.SetDeadline(deadline)
	pattern := make([]byte, 1+random.IntN(2000))
	for i := range pattern {
		pattern[i] = byte(random.Uint32())
	}
	if err = exchange(given, taken, pattern); err == nil {
		err = exchange(taken, given, pattern)
	}
	if err != nil {
		given.Close()
		taken.Close()
		return fmt.Errorf("exchange: %w", err)
	}
	first := func() { r.give.Put(given.ID(), given) }
	second := func() { r.take.Put(taken.ID(), taken) }
	if random.IntN(2) == 0 {
		first, second = second, first
	}
	switch pause := time.Duration(random.IntN(3000)) * time.Microsecond; random.IntN(3) {
	case 0: // the other end later, whoever has this one by then
		first()
		late.Go(func() {
			time.Sleep(pause)
			second()
		})
	case 1:
		late.Go(first)
		second()
	default:
		first()
		second()
	}
	return nil
}

// hammer lets users run until enough says so. No use may fail: whoever is handed
// a connection has one.
func (r *reuse) hammer(t *testing.T, users int, enough func() bool) (uses int64) {
	stop := inspect(t, r.server, r.client)
	var done atomic.Int64
	var all, late sync.WaitGroup
	for i := range users {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 5))
			for !enough() && !t.Failed() {
				if err := r.use(random, &late); err != nil {
					t.Errorf("use %d: %v", done.Load(), err)
				}
				if done.Add(1)%64 == 0 {
					time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond) // so that some are idle
				}
			}
		})
	}
	all.Wait()
	late.Wait()
	stop()
	return done.Load()
}

// requireSettled waits until the two sides agree, and checks their books.
func (r *reuse) requireSettled(t *testing.T) {
	agree := func() bool {
		a, b := r.server.Stats(), r.client.Stats()
		return a.Idle == b.Idle && a.Out+b.Out+b.Dialing == 0 && a.Created == b.Created &&
			int64(b.Idle) == r.live.Load()
	}
	require.Eventually(t, agree, 20*time.Second, 5*time.Millisecond, "%+v\n%+v\n%v", r.server.Stats(), r.client.Stats(), &r.live)
	requireQuiet(t, r.server)
	requireQuiet(t, r.client)
}

// TestPairReuseByMany: not one connection is lost, whatever the order.
func TestPairReuseByMany(t *testing.T) {
	const size = 6
	eachWay(t, func(t *testing.T, mode TLSMode, reverse bool) {
		r := openReuse(t, mode, reverse, size, Limits{})
		var left atomic.Int64
		left.Store(1500)
		uses := r.hammer(t, 3*size, func() bool { return left.Add(-1) < 0 })
		r.requireSettled(t)
		s := r.take.Stats()
		require.Empty(t, s.Closed)
		require.LessOrEqual(t, s.Created, uint64(size))
		t.Logf("%d uses of %d connections", uses, s.Created)
	})
}

// TestPairReuseWithLimits: the side that hands out closes connections for every
// reason it can have, while many use them. Nobody is handed one whose other end
// is gone, nothing stays open, and the books of both sides agree.
func TestPairReuseWithLimits(t *testing.T) {
	const size = 32
	all := Limits{MaxUses: 20, MaxAge: 900 * time.Millisecond, IdleTimeout: 20 * time.Millisecond, MaxIdle: size * 3 / 4}
	oldest := all
	oldest.Order = OldestFirst
	for name, limits := range map[string]Limits{
		"uses":   {MaxUses: 5},
		"age":    {MaxAge: 150 * time.Millisecond},
		"idle":   {IdleTimeout: 20 * time.Millisecond},
		"all":    all,
		"oldest": oldest,
	} {
		for _, mode := range []TLSMode{TLSPlain, TLSSelfSigned} {
			for _, reverse := range []bool{false, true} {
				if alone := name != "all"; alone && reverse != (mode == TLSPlain) {
					continue // one by one with and without TLS, together in every way
				}
				t.Run(fmt.Sprintf("%s, mode %s, reverse %v", name, mode, reverse), func(t *testing.T) {
					t.Parallel()
					r := openReuse(t, mode, reverse, size, limits)
					r.underLimits(t, limits)
				})
			}
		}
	}
}

func (r *reuse) underLimits(t *testing.T, limits Limits) {
	why := ClosedUses // what is sure to come, where there are several
	switch {
	case limits.MaxUses > 0:
	case limits.MaxAge > 0:
		why = ClosedAge
	default:
		why = ClosedIdle
	}
	begun := time.Now()
	uses := r.hammer(t, 8, func() bool {
		passed := time.Since(begun)
		if passed%(800*time.Millisecond) > 400*time.Millisecond {
			time.Sleep(400 * time.Millisecond) // a time in which nobody comes
		}
		return passed > time.Second && r.give.Stats().Closed[why] > 0 || passed > 30*time.Second
	})
	t.Logf("%d uses; closed here %v, there %v", uses, r.give.Stats().Closed, r.take.Stats().Closed)
	require.Positive(t, r.give.Stats().Closed[why])
	for why := range r.take.Stats().Closed {
		require.Equal(t, ClosedDead, why, "what is closed here is dead there, and nothing else is")
	}
	// Idle ones age still, so the two sides never rest. Without dials they end alike.
	require.NoError(t, r.client.Drain(t.Context()))
	require.Zero(t, r.live.Load())
	require.Eventually(t, func() bool { return r.server.Active() == 0 }, 10*time.Second, 5*time.Millisecond)
	for _, p := range []*Pool{r.server, r.client} {
		requireQuiet(t, p)
		s := p.Stats()
		require.Equal(t, s.Created, sumClosed(s), "%+v", s)
	}
}
