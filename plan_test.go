package pool

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// planning drives a planner by hand, the way a pool's maintainer does, through
// a time that stands still unless it is told otherwise.
type planning struct {
	*Planner
	t     *testing.T
	now   time.Time
	stock Stock
	begun []time.Time // of dials under way
}

func plan(t *testing.T, cfg PlannerConfig) *planning {
	t.Helper()
	if cfg.Jitter == nil {
		cfg.Jitter = func(n time.Duration) time.Duration { return n / 2 }
	}
	p, err := NewPlanner(cfg)
	require.NoError(t, err)
	return &planning{Planner: p, t: t, now: time.Unix(1, 0)}
}

// dials asks for a plan and says how many dials it begins.
func (p *planning) dials() int {
	step := p.Plan(p.now, p.stock)
	require.Positive(p.t, step.Again)
	for range step.Dials {
		p.begun = append(p.begun, p.now)
	}
	return step.Dials
}

// pass lets the time pass, in steps of no more than a pool would sleep.
func (p *planning) pass(d time.Duration) (dialed int) {
	for until := p.now.Add(d); p.now.Before(until); {
		step := p.Plan(p.now, p.stock)
		for range step.Dials {
			p.begun = append(p.begun, p.now)
		}
		dialed += step.Dials
		p.now = p.now.Add(min(step.Again, until.Sub(p.now)))
	}
	return dialed
}

// end ends the n oldest dials.
func (p *planning) end(n int, outcome DialOutcome) {
	for range n {
		if outcome == DialBrought {
			p.stock.Idle++
			p.Arrived(p.stock.Idle)
		}
		p.DialEnded(p.begun[0], p.now, outcome)
		p.begun = p.begun[1:]
	}
}

func (p *planning) fill() {
	for p.dials() > 0 {
		p.end(len(p.begun), DialBrought)
	}
}

func (p *planning) take(n int) (urgent bool) {
	for range n {
		p.stock.Idle--
		p.stock.Out++
		urgent = p.Took(p.now, p.stock.Idle)
	}
	return urgent
}

func (p *planning) putBack(n int) {
	for range n {
		p.stock.Idle++
		p.stock.Out--
		p.Returned(p.now, p.stock.Idle)
	}
}

func TestPlannerConfig(t *testing.T) {
	for says, cfg := range map[string]PlannerConfig{
		"PlannerConfig.MinCap is -1": {Limits: Limits{MinCap: -1}},
		"MinCap 9 exceeds MaxCap 8":  {Limits: Limits{MinCap: 9, MaxCap: 8}},
		"must not be negative":       {MinInterval: -1},
		"exceeds MaxInterval":        {MinInterval: time.Minute, MaxInterval: time.Second},
	} {
		_, err := NewPlanner(cfg)
		require.ErrorContains(t, err, says)
	}
	p, err := NewPlanner(PlannerConfig{})
	require.NoError(t, err)
	require.Equal(t, defaultMinCap, p.Capacity())
	require.Equal(t, defaultMinInterval, p.Interval())
}

func TestPlannerFillsThenRests(t *testing.T) {
	p := plan(t, PlannerConfig{Limits: Limits{MinCap: 20, MaxCap: 50}})
	require.Equal(t, initialDials, p.dials())
	require.Zero(t, p.dials(), "they count as under way")
	p.end(8, DialBrought)
	require.Equal(t, 12, p.dials())
	p.end(12, DialBrought)
	require.Zero(t, p.pass(time.Hour))
	require.Equal(t, time.Second, p.Interval())
}

// TestPlannerWaitsForWhatIsOut: a connection that is out is not dialed for at
// once. Half an interval suffices where it would find its place all the same,
// else it takes a whole one.
func TestPlannerWaitsForWhatIsOut(t *testing.T) {
	for _, tt := range []struct {
		name         string
		maxCap       int
		atLeast, end time.Duration
	}{
		{"with room", 50, time.Second / 2, time.Second},
		{"without room", 20, time.Second, 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plan(t, PlannerConfig{Limits: Limits{MinCap: 20, MaxCap: tt.maxCap}})
			p.fill()
			require.Zero(t, p.pass(time.Minute))
			require.False(t, p.take(4))
			require.Zero(t, p.pass(tt.atLeast))
			require.Equal(t, 4, p.pass(tt.end-tt.atLeast))

			p.end(4, DialBrought)
			p.stock.Out = 0 // closed by their holders
			p.pass(time.Minute)
			for range 1000 {
				p.take(3)
				require.Zero(t, p.pass(tt.atLeast-time.Millisecond))
				p.putBack(3)
				require.Zero(t, p.dials(), "what is back in time is never dialed for")
			}
		})
	}
}

func TestPlannerRefillsBelowLowWater(t *testing.T) {
	p := plan(t, PlannerConfig{Limits: Limits{MinCap: 20, MaxCap: 50}})
	p.fill()
	p.pass(time.Minute)
	require.False(t, p.take(16))
	require.Zero(t, p.dials())
	require.True(t, p.take(1))
	require.Equal(t, 17, p.dials())
}

// TestPlannerKeepsWhatWasMissing: a burst is remembered, and forgotten slowly.
func TestPlannerKeepsWhatWasMissing(t *testing.T) {
	p := plan(t, PlannerConfig{Limits: Limits{MinCap: 20, MaxCap: 200}, MaxDials: 64})
	p.fill()
	p.take(20)
	p.Demand(p.now, 60)
	require.Equal(t, 64, p.dials(), "as many at once as there may be")
	p.end(64, DialBrought)
	p.take(60) // those who waited count once
	p.pass(time.Second)
	require.Equal(t, 90, p.Capacity(), "80, and an eighth for those who waited")
	p.end(len(p.begun), DialBrought)
	p.pass(reserveHalfLife)
	require.InDelta(t, 45, p.Capacity(), 2)
	p.pass(10 * reserveHalfLife)
	require.Equal(t, 20, p.Capacity())
}

// TestPlannerHeedsWaitersAtOnce: it does not let a long interval pass.
func TestPlannerHeedsWaitersAtOnce(t *testing.T) {
	p := plan(t, PlannerConfig{Limits: Limits{MinCap: 4, MaxCap: 200}, MaxInterval: time.Hour})
	p.fill()
	p.pass(24 * time.Hour)
	require.Equal(t, time.Hour, p.Interval())
	p.take(4)
	for range 8 {
		p.Missed(p.now)
		p.stock.Waiting++
	}
	p.dials()
	p.end(len(p.begun), DialBrought)
	p.stock.Idle, p.stock.Waiting = 0, 0
	p.now = p.now.Add(defaultMinInterval)
	p.dials()
	require.Equal(t, 14, p.Capacity(), "12, and an eighth")
}

// TestPlannerOutage: takers that wait because dials fail say nothing of the
// capacity, and are dialed for in one go when the server is back.
func TestPlannerOutage(t *testing.T) {
	p := plan(t, PlannerConfig{Limits: Limits{MinCap: 20, MaxCap: 200}, MaxDials: 64})
	p.fill()
	p.take(20)
	require.Equal(t, 20, p.dials())
	p.end(20, DialFailed)
	require.True(t, p.Failing())
	tried := 0
	for range 600 { // a minute, with takers coming all the time
		p.Demand(p.now, 50)
		p.Missed(p.now)
		tried += p.pass(100 * time.Millisecond)
		p.end(len(p.begun), DialFailed)
	}
	require.Less(t, tried, 60*2)
	require.Greater(t, tried, 60)
	require.Equal(t, 20, p.Capacity())

	for p.dials() == 0 {
		p.now = p.now.Add(time.Millisecond)
	}
	p.end(1, DialBrought)
	require.False(t, p.Failing())
	require.Equal(t, 64, p.dials())
	p.end(64, DialBrought)
	p.take(50)
	p.pass(time.Second)
	require.Equal(t, 20, p.Capacity())

	p.Demand(p.now, 50)
	p.pass(time.Second)
	require.InDelta(t, 56, p.Capacity(), 1, "those who wait now do count")
}

// TestPlannerTriesUnusedServerRarely: and at once more often when somebody comes.
func TestPlannerTriesUnusedServerRarely(t *testing.T) {
	p := plan(t, PlannerConfig{})
	failing := func(d time.Duration) (tried int) {
		for until := p.now.Add(d); p.now.Before(until); p.now = p.now.Add(5 * time.Millisecond) {
			tried += p.dials()
			p.end(len(p.begun), DialFailed)
		}
		return tried
	}
	failing(time.Minute)
	require.InDelta(t, 10*60/15, failing(10*time.Minute), 1, "every 15 s")
	p.now = p.now.Add(time.Second)
	p.Demand(p.now, 1)
	require.Equal(t, 1, p.dials(), "the pause is cut")
	p.end(1, DialFailed)
	require.InDelta(t, 9*1000/525, failing(9*time.Second), 1)
	failing(time.Minute)
	require.InDelta(t, 10*60/15, failing(10*time.Minute), 1, "nobody came any more")
}

// TestPlannerTellsTheStoryAgain: the same story has the same end.
func TestPlannerTellsTheStoryAgain(t *testing.T) {
	tell := func() (ends []int) {
		p := plan(t, PlannerConfig{Limits: Limits{MinCap: 4, MaxCap: 100}})
		for i := range 2000 {
			ends = append(ends, p.dials(), p.Capacity(), int(p.Interval()))
			outcome := DialBrought
			if i%7 == 0 {
				outcome = DialFailed
			}
			p.end(len(p.begun), outcome)
			if n := i * 31 % 11; n <= p.stock.Idle {
				p.take(n)
			} else {
				p.Demand(p.now, n)
			}
			p.now = p.now.Add(time.Duration(i*17%50) * time.Millisecond)
		}
		return ends
	}
	require.Equal(t, tell(), tell())
}

// TestDocumentedConstants: docs/ADAPTATION.md tells the constants as they are.
func TestDocumentedConstants(t *testing.T) {
	text, err := os.ReadFile("docs/ADAPTATION.md")
	require.NoError(t, err)
	for _, row := range []string{
		fmt.Sprintf("`idleLow`, `idleHigh` | %d %%, %d %%", idleLow, idleHigh),
		fmt.Sprintf("`successLow`, `successHigh` | %d %%, %d %%", successLow, successHigh),
		fmt.Sprintf("`intervalSpeedup`, `intervalSlowdown` | 1/%d, 1/%d", intervalSpeedup, intervalSlowdown),
		fmt.Sprintf("`waitGrowth` | 1/%d", waitGrowth),
		fmt.Sprintf("`failureShrink` | 1/%d", failureShrink),
		fmt.Sprintf("`reserveHalfLife` | %v", reserveHalfLife),
		fmt.Sprintf("`lowWaterMost` | %d %%", lowWaterMost),
		fmt.Sprintf("`refillMargin` | %v", refillMargin),
		fmt.Sprintf("`firstRefill` | %v", firstRefill),
		fmt.Sprintf("`initialDials` | %d", initialDials),
		fmt.Sprintf("`defaultMaxDials` | %d", defaultMaxDials),
		fmt.Sprintf("`backoffBase`, `backoffCeiling` | %v, %v", backoffBase, backoffCeiling),
		fmt.Sprintf("`busyCeiling`, `busyWindow` | %v, %v", busyCeiling, busyWindow),
	} {
		require.Contains(t, string(text), "| "+row+" |")
	}
}

// TestPlanMaxOpen: what is out and under way counts, whoever waits.
func TestPlanMaxOpen(t *testing.T) {
	p := plan(t, PlannerConfig{Limits: Limits{MinCap: 8, MaxCap: 8, MaxOpen: 10}})
	require.Equal(t, 8, p.dials())
	p.end(8, DialBrought)
	p.stock = Stock{Idle: 0, Out: 8, Waiting: 5}
	p.Demand(p.now, 100)
	require.Equal(t, 2, p.pass(time.Minute))
	p.end(2, DialBrought)
	p.stock = Stock{Out: 9, Waiting: 5} // one has ended
	p.Demand(p.now, 100)
	require.Equal(t, 1, p.pass(time.Second))
	require.Zero(t, p.pass(time.Minute))

	_, err := NewPlanner(PlannerConfig{Limits: Limits{MaxOpen: -1}})
	require.ErrorContains(t, err, "MaxOpen")
}

// TestPlanWanted: who waits to see many idle is dialed for, within the bounds, and
// changes nothing of what is kept ready later.
func TestPlanWanted(t *testing.T) {
	p := plan(t, PlannerConfig{Limits: Limits{MinCap: 2, MaxCap: 20, MaxOpen: 16}})
	p.fill()
	p.stock.Wanted = 12
	p.fill()
	require.Equal(t, 12, p.stock.Idle)
	p.take(3)
	p.stock.Reserved = 2
	require.Equal(t, 3, p.dials(), "who is out is not idle")
	p.end(3, DialBrought)
	p.stock.Wanted = 100
	require.Equal(t, 1, p.dials(), "16 in all")
	p.end(1, DialBrought)
	p.stock = Stock{Idle: 12, Wanted: 12}
	require.Zero(t, p.pass(time.Second))
	p.stock = Stock{Idle: 12, Wanted: 100}
	require.Equal(t, 4, p.dials())
	require.LessOrEqual(t, p.Capacity(), 3, "as many as were taken")

	p = plan(t, PlannerConfig{Limits: Limits{MinCap: 2, MaxCap: 20}})
	p.stock.Wanted = 20
	p.dials()
	for range 10 {
		p.end(len(p.begun), DialFailed)
		require.LessOrEqual(t, p.backoff.wait(p.now, false), busyCeiling, "somebody waits")
		p.pass(time.Minute)
	}
}

// TestPlanUnused: nothing is dialed for in place of what nobody needed, and takers
// bring the capacity back.
func TestPlanUnused(t *testing.T) {
	p := plan(t, PlannerConfig{Limits: Limits{MinCap: 2, MaxCap: 100}})
	p.fill()
	p.stock.Idle = 0
	for range 30 {
		p.stock.Out++
		p.Missed(p.now)
	}
	p.pass(time.Second)
	high := p.Capacity()
	require.Greater(t, high, 10)
	p.Unused(high + 1)
	require.Equal(t, high, p.Capacity())
	p.Unused(5)
	require.Equal(t, 5, p.Capacity())
	p.Unused(0)
	require.Equal(t, 2, p.Capacity())
	p.end(len(p.begun), DialBrought)
	p.stock = Stock{Idle: 2}
	require.Zero(t, p.pass(time.Hour))
	p.stock.Idle = 0
	for range 30 {
		p.Missed(p.now)
	}
	p.pass(time.Second)
	require.Greater(t, p.Capacity(), 10)
}

// TestPlanWithoutMinCap: a pool that keeps none ready dials for those who wait.
func TestPlanWithoutMinCap(t *testing.T) {
	cfg := PlannerConfig{Limits: Limits{MaxCap: 10, MaxOpen: 10}, Jitter: func(n time.Duration) time.Duration { return n / 2 }}
	require.NoError(t, cfg.fillPace())
	p := &planning{Planner: newPlanner(cfg), t: t, now: time.Unix(1, 0)}
	require.Zero(t, p.pass(time.Hour))
	require.Equal(t, defaultMaxInterval, p.Interval(), "it rests")
	p.stock.Waiting = 3
	p.Missed(p.now)
	require.GreaterOrEqual(t, p.dials(), 3)
	p.end(len(p.begun), DialBrought)
	p.stock = Stock{Idle: 3}
	p.Returned(p.now, 3)
	p.pass(time.Minute)
	p.Unused(0)
	p.stock = Stock{}
	require.Zero(t, p.Capacity())
	require.Zero(t, p.pass(time.Hour))
}

// TestPlannerWithOverflow: while nobody waits, no take asks for a dial, and
// what is missing is dialed for without haste. Who does wait is dialed for at
// once.
func TestPlannerWithOverflow(t *testing.T) {
	p := plan(t, PlannerConfig{Limits: Limits{MinCap: 20, MaxCap: 400}, Overflow: true})
	p.fill()
	p.pass(time.Minute)
	require.False(t, p.take(20), "none is left, and others are served all the same")
	require.Zero(t, p.dials())
	for range 300 {
		p.Missed(p.now)
	}
	p.putBack(20)
	p.pass(time.Second)
	require.Greater(t, p.Capacity(), 300, "next time there are as many")

	dialed, seconds := 0, 0
	for p.stock.Idle < 300 {
		for range 100 {
			p.now = p.now.Add(10 * time.Millisecond)
			p.dials()
			require.LessOrEqual(t, len(p.begun), calmDials)
			dialed += len(p.begun)
			p.end(len(p.begun), DialBrought)
		}
		seconds++
	}
	require.LessOrEqual(t, dialed, calmDials+20+seconds*calmRate, "those begun before included")
	require.LessOrEqual(t, seconds, 4)

	p.take(p.stock.Idle)
	p.Demand(p.now, 200)
	require.Greater(t, p.dials(), calmDials)
}
