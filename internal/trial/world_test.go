package trial

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSchedule(t *testing.T) {
	var s schedule
	random := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		s.push(event{at: time.Duration(random.IntN(100))})
	}
	last := s.pop()
	for range 999 {
		next := s.pop()
		require.True(t, last.before(&next), "%v then %v", last, next)
		last = next
	}
	require.Empty(t, s.heap)
}

func TestPercentile(t *testing.T) {
	b := books{takers: 200, waits: []time.Duration{5, 3, 4}}
	require.EqualValues(t, 3, b.percentile(0.99), "the 198th of 200")
	require.EqualValues(t, 5, b.percentile(1))
	require.EqualValues(t, 0, b.percentile(0.98))
	b.takers = 3
	require.EqualValues(t, 4, b.percentile(0.5))
}

// TestBooksOfTime: what is booked before the trace begins does not count, and a
// plot's points are means over their bins.
func TestBooksOfTime(t *testing.T) {
	var b books
	b.open(&Trace{Length: plotPoints * time.Second})
	b.pass(-10*time.Second, 500*time.Millisecond, 4, 0)
	b.pass(500*time.Millisecond, 2500*time.Millisecond, 8, 3)
	require.InDelta(t, 18, b.idleSeconds, 1e-9)
	require.InDelta(t, 6, b.line[0].Idle, 1e-9)
	require.InDelta(t, 8, b.line[1].Idle, 1e-9)
	require.InDelta(t, 4, b.line[2].Idle, 1e-9)
	require.Equal(t, 3, b.line[2].Waiting)
	b.dialed(-1, true)
	b.dialed(0, true)
	require.Equal(t, 1, b.outageDials)
}

// lone is a world without takers and without a warm-up, for a rule to be watched
// in.
func lone(r rule, outage cycle) *world {
	none := func(time.Duration) float64 { return 0 }
	w := newWorld(&Trace{Length: time.Hour, peak: 1e-9, rate: none, outage: outage}, Setup{}.filled(), r, 1)
	w.events, w.now = schedule{}, 0
	w.wakeAt(0)
	return w
}

func (w *world) until(t time.Duration) {
	for len(w.events.heap) > 0 && w.events.next().at < t {
		w.step()
	}
	w.advance(t)
}

// TestSeedRule: as its README tells.
func TestSeedRule(t *testing.T) {
	t.Run("capacity follows what a pass created, by one", func(t *testing.T) {
		r := newSeed(seedStyle{parallel: true})(8, 0).(*seed)
		w := lone(r, cycle{})
		w.until(200 * time.Millisecond)
		require.Equal(t, 8, w.idle)
		require.Equal(t, 9, r.capacity, "the first pass created more than 80 %")
		w.until(500 * time.Millisecond)
		require.Equal(t, 9, w.idle)
		require.Equal(t, 8, r.capacity, "the second less than 20 %")
	})
	t.Run("who has enough looks less and less often", func(t *testing.T) {
		r := newSeed(seedStyle{parallel: true})(8, 0).(*seed)
		w := lone(r, cycle{})
		w.until(time.Second)
		require.Less(t, r.interval, maxInterval)
		w.until(time.Minute)
		require.Equal(t, maxInterval, r.interval)
		w.clientIdle = 0
		w.until(2 * time.Minute)
		require.Equal(t, 9, w.clientIdle)
	})
	t.Run("one dial after another", func(t *testing.T) {
		r := newSeed(seedStyle{})(8, 0).(*seed)
		w := lone(r, cycle{})
		for w.idle < 8 {
			w.step()
			require.LessOrEqual(t, w.dialing, 1)
		}
		require.Greater(t, w.now, 7*3*w.roundTrip)
	})
	t.Run("a failing server is dialed in every pass, at the shortest interval", func(t *testing.T) {
		r := newSeed(seedStyle{parallel: true})(8, 0).(*seed)
		w := lone(r, cycle{until: time.Hour, period: time.Hour})
		w.until(time.Minute)
		require.Equal(t, minInterval, r.interval)
		require.Equal(t, 8, r.capacity)
		require.InDelta(t, 8*60/0.15, w.books.outageDials, 100)
	})
	t.Run("success as a share of the dials", func(t *testing.T) {
		r := newSeed(seedStyle{parallel: true, ofDials: true})(8, 0).(*seed)
		w := lone(r, cycle{})
		w.until(time.Minute)
		require.Greater(t, r.capacity, 50, "every pass that dials succeeds, so it grows, and so the next dials")
		require.Equal(t, r.capacity, w.idle+1)
	})
}

// TestNeedIsGathered: the first taker that waits is told of at once, the others
// in one message.
func TestNeedIsGathered(t *testing.T) {
	r := &noting{}
	w := lone(r, cycle{})
	for range 5 {
		w.take()
	}
	w.until(time.Second)
	require.Equal(t, []int{1, 5}, r.needs)
	require.Equal(t, []time.Duration{20 * time.Millisecond, 25 * time.Millisecond}, r.at)
}

// noting is a rule that only notes what it is told.
type noting struct {
	restful
	needs []int
	at    []time.Duration
}

func (r *noting) need(w *world, waiting int) {
	r.needs = append(r.needs, waiting)
	r.at = append(r.at, w.now)
}
