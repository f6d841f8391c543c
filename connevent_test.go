package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// watcher hears what a pool tells, and looks at it meanwhile, as one may: under a
// lock that would hang.
type watcher struct {
	pool atomic.Pointer[Pool]

	mu     sync.Mutex
	events []ConnEvent
}

func (w *watcher) note(event ConnEvent) {
	if p := w.pool.Load(); p != nil && event.Seq%64 == 0 {
		p.Stats()
		p.Conns()
		_ = p.Healthy()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, event)
}

// watch has w hear what a pool tells that nobody uses yet.
func (w *watcher) watch(p *Pool) {
	p.mu.tell = w.note
	w.pool.Store(p)
}

// told returns what was told since the last call, in order, a line each.
func (w *watcher) told() (lines []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortFunc(w.events, bySeq)
	for _, e := range w.events {
		line := fmt.Sprintf("%v %s age %v uses %d", e.Kind, cmp.Or(e.ID, "-"), e.Age, e.Uses)
		if e.Waited > 0 {
			line += fmt.Sprintf(" waited %v", e.Waited)
		}
		if e.Reason != "" {
			line += " reason " + string(e.Reason)
		}
		if e.Err != nil {
			line += ": " + e.Err.Error()
		}
		lines = append(lines, line)
	}
	w.events = nil
	return lines
}

func bySeq(a, b ConnEvent) int { return cmp.Compare(a.Seq, b.Seq) }

// requireBooks compares what was told since the pool was made with its Stats, when
// no call is under way: every change once, in a possible order.
func (w *watcher) requireBooks(t *testing.T, p *Pool) {
	t.Helper()
	sum, s := w.sum(t), p.Stats()
	requireTold(t, sum, s)
	require.Equal(t, s.Idle+s.Checking, sum.Idle)
	require.Equal(t, s.Out, sum.Out)
}

// requireTold compares the sum of what was told with the Stats.
func requireTold(t *testing.T, sum, s Stats) {
	t.Helper()
	require.Equal(t, s.Created, sum.Created)
	require.Equal(t, s.HandedOut, sum.HandedOut)
	require.Equal(t, s.Closed, sum.Closed)
	require.GreaterOrEqual(t, s.AcquireTime, sum.AcquireTime)
	require.Equal(t, s.DialFailures+s.Rejected[RejectFull], sum.DialFailures)
	t.Logf("%d connections, %d uses, %d failures", sum.Created, sum.HandedOut, sum.DialFailures)
}

// sum adds up what was told. All failures are in DialFailures.
func (w *watcher) sum(t *testing.T) (sum Stats) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortFunc(w.events, bySeq)
	sum.Closed = map[CloseReason]uint64{}
	state, uses := map[string]ConnState{}, map[string]int{}
	for i, e := range w.events {
		was := state[e.ID]
		at := fmt.Sprintf("event %d: %+v of one that was %q", i, e, was)
		require.EqualValues(t, i+1, e.Seq, at)
		require.Equal(t, e.Kind == ConnEvicted, e.Reason != "", at)
		require.GreaterOrEqual(t, e.Age, time.Duration(0), at)
		require.False(t, e.Time.IsZero(), at)
		switch e.Kind {
		case ConnCreated:
			require.Empty(t, was, at)
			state[e.ID] = ConnIdle
			sum.Created++
		case ConnAcquired:
			require.Equal(t, ConnIdle, was, at)
			state[e.ID] = ConnOut
			sum.HandedOut++
			sum.AcquireTime += e.Waited
			uses[e.ID]++
			require.Equal(t, uses[e.ID], e.Uses, at)
		case ConnReleased:
			require.Equal(t, ConnOut, was, at)
			state[e.ID] = ConnIdle
		case ConnEvicted:
			require.NotEmpty(t, was, at)
			delete(state, e.ID)
			sum.Closed[e.Reason]++
		case ConnFailed:
			require.Error(t, e.Err, at)
			sum.DialFailures++
		}
	}
	for _, s := range state {
		if s == ConnOut {
			sum.Out++
		} else {
			sum.Idle++
		}
	}
	return sum
}

// TestEventsOfOne follows connections of a single-ended pool through all that can
// happen to them.
func TestEventsOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w watcher
		sick := false
		p := newLocal(t, newLineServer(t, nil), LocalConfig{
			Limits: Limits{MaxOpen: 1}, OnConn: w.note, CheckAtGet: time.Minute, CheckEvery: -1,
			Check: func(context.Context, *Conn) error {
				time.Sleep(time.Second)
				if sick {
					return errBroken
				}
				return nil
			},
		})
		synctest.Wait()
		require.Equal(t, []string{"created 00000001 age 0s uses 0"}, w.told())
		time.Sleep(time.Second)
		c := mustGet(t, p)
		require.Equal(t, []string{"acquired 00000001 age 1s uses 1"}, w.told())

		next := laterGet(p)
		time.Sleep(2 * time.Second)
		p.Put(c.ID(), c)
		c = (<-next).conn
		require.Equal(t, []string{
			"released 00000001 age 3s uses 1",
			"acquired 00000001 age 3s uses 2 waited 2s",
		}, w.told())
		p.Put(c.ID(), c)

		time.Sleep(time.Minute)
		c = mustGet(t, p)
		require.Equal(t, []string{
			"released 00000001 age 3s uses 2",
			"acquired 00000001 age 1m4s uses 3 waited 1s",
		}, w.told(), "the check at Get is what it cost")
		require.Equal(t, 3*time.Second, p.Stats().AcquireTime)
		p.Put(c.ID(), c)

		time.Sleep(time.Minute)
		sick = true
		c = mustGet(t, p)
		require.Equal(t, []string{
			"released 00000001 age 1m4s uses 3",
			"evicted 00000001 age 2m5s uses 4 reason check: broken",
			"created 00000002 age 0s uses 0",
			"acquired 00000002 age 0s uses 1 waited 1s",
		}, w.told(), "nobody had what failed its check")
		require.EqualValues(t, 4, p.Stats().HandedOut)
		p.Discard(c.ID(), c, errors.New("half an answer"))
		time.Sleep(time.Second) // dials are paced
		require.Equal(t, []string{
			"evicted 00000002 age 0s uses 1 reason discarded: half an answer",
			"created 00000003 age 0s uses 0",
		}, w.told())
		c = mustGet(t, p)
		p.Close()
		require.Len(t, w.told(), 1)
		p.Put(c.ID(), c)
		require.Contains(t, w.told()[0], "reason shutdown")
	})
}

// TestEventsOfFailures: what never becomes a connection is told with the reason, and
// what the pool's own end cuts off is not.
func TestEventsOfFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w watcher
		s := newLineServer(t, nil)
		s.setRefuse(errBroken)
		p := newLocal(t, s, LocalConfig{OnConn: w.note, Setup: saying("hello")})
		synctest.Wait()
		require.Equal(t, []string{"failed - age 0s uses 0: broken"}, w.told())
		_, err := p.Fresh(t.Context())
		require.ErrorIs(t, err, errBroken)
		require.Equal(t, []string{"failed - age 0s uses 0: broken"}, w.told())
		require.EqualValues(t, 2, p.Stats().DialFailures)
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = p.Fresh(canceled)
		require.ErrorIs(t, err, context.Canceled)
		p.Close()
		require.Empty(t, w.told())

		full := keep(t)(NewServer(ServerConfig{OnConn: w.note, Limits: Limits{MaxCap: 1}}))
		id, _ := admit(t, full)
		require.Equal(t, []string{"created " + id + " age 0s uses 0"}, w.told())
		near, far := net.Pipe()
		defer near.Close()
		require.ErrorIs(t, full.Admit(t.Context(), far), ErrFull)
		require.Equal(t, []string{"failed - age 0s uses 0: pool is full"}, w.told())
		full.Clean()
		require.Equal(t, []string{"evicted " + id + " age 0s uses 0 reason cleaned"}, w.told())
		near, far = net.Pipe()
		near.Close()
		err = full.Admit(t.Context(), far)
		require.Error(t, err)
		told := w.told()
		require.Len(t, told, 1)
		require.Regexp(t, "^failed \\S{8} age 0s uses 0: tell the ID", told[0])
	})
}

// TestEventsOfOverflow: who has a connection made for him waits for the dial, and
// who watches hears of all of it.
func TestEventsOfOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w watcher
		p := newLocal(t, newLineServer(t, nil), LocalConfig{
			OnConn: w.note, Limits: Limits{MaxOpen: 1, WhenFull: OverflowWhenFull},
			Setup: func(context.Context, *Conn) error { time.Sleep(3 * time.Second); return nil },
		})
		a := mustGet(t, p)
		b := mustGet(t, p)
		p.Put(b.ID(), b)
		require.Equal(t, []string{
			"created 00000001 age 3s uses 0",
			"acquired 00000001 age 3s uses 1 waited 3s",
			"created 00000002 age 3s uses 0",
			"acquired 00000002 age 3s uses 1 waited 3s",
			"evicted 00000002 age 3s uses 1 reason single",
		}, w.told())
		s := p.Stats()
		require.Equal(t, 6*time.Second, s.AcquireTime)
		require.EqualValues(t, 2, s.Misses)
		require.EqualValues(t, 1, s.Waited)
		require.Zero(t, s.Hits)
		require.EqualValues(t, 2, s.Dialed)
		a.Close()
	})
}

// TestEventsOfRequest: one who gives up when it is there already had it, for the books.
func TestEventsOfRequest(t *testing.T) {
	p := newServerCore(t, 4)
	var w watcher
	w.watch(p)
	admit(t, p)
	r := p.Request()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Wait(ended)
	require.ErrorIs(t, err, context.Canceled)
	w.requireBooks(t, p)
	r = p.Request()
	p.Flush()
	_, err = r.Wait(t.Context())
	require.NoError(t, err, "a dead handle")
	w.requireBooks(t, p)
	require.EqualValues(t, 2, p.Stats().HandedOut)
}
