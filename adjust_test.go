package pool

import (
	"math"
	"testing"
	"time"
)

var testController = controller{
	minCap: 8, maxCap: 512,
	minInterval: 100 * time.Millisecond, maxInterval: time.Second,
}

func TestControllerStep(t *testing.T) {
	const (
		ms  = time.Millisecond
		sec = time.Second
	)
	tests := []struct {
		name string
		a    adjustment
		o    observation
		want adjustment
	}{
		// Interval.
		{"under 20% idle halves the interval",
			adjustment{100, 800 * ms, 100}, observation{idle: 19},
			adjustment{100, 400 * ms, 100}},
		{"exactly 20% idle leaves it",
			adjustment{100, 800 * ms, 100}, observation{idle: 20},
			adjustment{100, 800 * ms, 100}},
		{"exactly 80% idle leaves it",
			adjustment{100, 400 * ms, 100}, observation{idle: 80},
			adjustment{100, 400 * ms, 100}},
		{"over 80% idle adds a quarter",
			adjustment{100, 400 * ms, 100}, observation{idle: 81},
			adjustment{100, 500 * ms, 100}},
		{"the interval stops at its minimum",
			adjustment{100, 120 * ms, 100}, observation{idle: 0},
			adjustment{100, 100 * ms, 100}},
		{"the interval stops at its maximum",
			adjustment{100, 900 * ms, 100}, observation{idle: 100},
			adjustment{100, 1000 * ms, 100}},

		// Failing dials.
		{"under 20% success gives up a quarter",
			adjustment{100, 500 * ms, 100}, observation{idle: 50, attempted: 100, succeeded: 19},
			adjustment{75, 500 * ms, 75}},
		{"failure wins over demand",
			adjustment{100, 500 * ms, 100}, observation{idle: 0, waited: 9, missing: 200, attempted: 10, succeeded: 1},
			adjustment{75, 250 * ms, 75}},
		{"failure raises nothing",
			adjustment{100, 500 * ms, 10}, observation{idle: 50, attempted: 10},
			adjustment{10, 500 * ms, 10}},
		{"failure stops at the minimum",
			adjustment{9, 500 * ms, 9}, observation{idle: 4, attempted: 3},
			adjustment{8, 500 * ms, 7}},
		{"20% to 80% success neither shrinks nor grows",
			adjustment{100, 500 * ms, 100}, observation{idle: 0, waited: 5, missing: 200, attempted: 10, succeeded: 8},
			adjustment{100, 250 * ms, 100}},

		// Demand.
		{"what was missing is what is kept from now on",
			adjustment{32, 500 * ms, 32}, observation{idle: 10, missing: 40, attempted: 30, succeeded: 30},
			adjustment{40, 500 * ms, 40}},
		{"rounded up",
			adjustment{32, 500 * ms, 32}, observation{idle: 10, missing: 40.5},
			adjustment{41, 500 * ms, 40.5}},
		{"less than the reserve raises nothing",
			adjustment{32, 500 * ms, 32}, observation{idle: 10, missing: 30},
			adjustment{32, 500 * ms, 32}},
		{"takers that waited add an eighth",
			adjustment{32, 500 * ms, 32}, observation{idle: 10, waited: 1, missing: 30, attempted: 30, succeeded: 30},
			adjustment{36, 500 * ms, 36}},
		{"to the capacity, where that was more than the reserve",
			adjustment{32, 500 * ms, 4}, observation{idle: 10, waited: 1, missing: 30},
			adjustment{36, 500 * ms, 36}},
		{"and to what was missing, where that was more",
			adjustment{32, 500 * ms, 32}, observation{idle: 10, waited: 48, missing: 80},
			adjustment{90, 500 * ms, 90}},
		{"waiting counts although no dial ended yet",
			adjustment{32, 500 * ms, 32}, observation{waited: 1},
			adjustment{36, 250 * ms, 36}},
		{"few idle without takers is a pool that is filling",
			adjustment{32, 500 * ms, 32}, observation{idle: 0, attempted: 5, succeeded: 5},
			adjustment{32, 250 * ms, 32}},
		{"growth stops at the maximum",
			adjustment{500, 500 * ms, 500}, observation{idle: 0, waited: 50, missing: 550, attempted: 5, succeeded: 5},
			adjustment{512, 250 * ms, 512}},

		// Quiet.
		{"half is given back in the half-life",
			adjustment{160, sec, 160}, observation{idle: 160, elapsed: reserveHalfLife},
			adjustment{80, sec, 80}},
		{"and three quarters in two",
			adjustment{160, sec, 160}, observation{idle: 160, elapsed: 2 * reserveHalfLife},
			adjustment{40, sec, 40}},
		{"quiet stops at the minimum",
			adjustment{10, sec, 10}, observation{idle: 10, elapsed: reserveHalfLife},
			adjustment{8, sec, 5}},
		{"a burst that was refilled within the step ends the quiet",
			adjustment{160, sec, 160}, observation{idle: 160, missing: 90, elapsed: reserveHalfLife},
			adjustment{90, sec, 90}},
		{"a clock that stood still, or ran back, is no quiet",
			adjustment{160, sec, 160}, observation{idle: 160, elapsed: -reserveHalfLife},
			adjustment{160, sec, 160}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := testController.step(tt.a, tt.o); got != tt.want {
				t.Errorf("step(%+v, %+v)\n got %+v\nwant %+v", tt.a, tt.o, got, tt.want)
			}
		})
	}
}

func TestControllerInitial(t *testing.T) {
	want := adjustment{capacity: 8, interval: 100 * time.Millisecond}
	if got := testController.initial(); got != want {
		t.Errorf("initial() = %+v, want %+v", got, want)
	}
}

func TestControllerLowWater(t *testing.T) {
	for capacity, want := range map[int]int{0: 1, 1: 1, 5: 1, 6: 2, 32: 7, 100: 20, 512: 103} {
		if got := testController.lowWater(adjustment{capacity: capacity}); got != want {
			t.Errorf("lowWater at capacity %d = %d, want %d", capacity, got, want)
		}
	}
	// It is the mark of step itself: below it, the interval shortens.
	for capacity := 1; capacity <= 512; capacity++ {
		mark := testController.lowWater(adjustment{capacity: capacity})
		if !below(mark-1, capacity, idleLow) || below(mark, capacity, idleLow) {
			t.Errorf("lowWater at capacity %d = %d is not where step sees few idle", capacity, mark)
		}
	}
	// And no less than the reserve, as far as some may be out for a moment.
	for reserve, want := range map[float64]int{6: 7, 7.5: 8, 20: 20, 23.5: 24, 24.5: 24, 40: 24} {
		if got := testController.lowWater(adjustment{capacity: 32, reserve: reserve}); got != want {
			t.Errorf("lowWater at capacity 32, reserve %v = %d, want %d", reserve, got, want)
		}
	}
}

// The smallest pools move too, though a share of them is less than one.
func TestControllerSmallSteps(t *testing.T) {
	c := testController
	c.minCap = 1
	tests := []struct {
		name     string
		capacity int
		o        observation
		want     int
	}{
		{"growth", 1, observation{idle: 0, missing: 1.01}, 2},
		{"waiting", 1, observation{waited: 1}, 2},
		{"failure", 2, observation{attempted: 1}, 1},
		{"quiet", 2, observation{idle: 2, elapsed: reserveHalfLife}, 1},
	}
	for _, tt := range tests {
		a := adjustment{capacity: tt.capacity, interval: c.minInterval, reserve: float64(tt.capacity)}
		if got := c.step(a, tt.o).capacity; got != tt.want {
			t.Errorf("%s takes capacity %d to %d, want %d", tt.name, tt.capacity, got, tt.want)
		}
	}
}

// Takers that wait make the pool grow until none does, also where the meter
// sees nothing of why, and after them the pool comes all the way down again,
// slowly.
func TestControllerBurstAndQuiet(t *testing.T) {
	c, a := testController, testController.initial()
	steps := 0
	for ; a.capacity < c.maxCap; steps++ {
		if steps == 40 {
			t.Fatalf("after %d steps with people waiting capacity is %d", steps, a.capacity)
		}
		a = c.step(a, observation{waited: 1, attempted: 1, succeeded: 1, elapsed: a.interval})
	}
	if a.interval != c.minInterval {
		t.Errorf("with nothing idle the interval is %v, want %v", a.interval, c.minInterval)
	}
	t.Logf("from %d to %d in %d steps", c.minCap, c.maxCap, steps)

	var passed time.Duration
	for a.capacity > c.minCap {
		before := a
		a = c.step(a, observation{idle: a.capacity, elapsed: a.interval})
		passed += before.interval
		if a.capacity < before.capacity-before.capacity/8-1 {
			t.Fatalf("a quiet step took capacity from %d to %d", before.capacity, a.capacity)
		}
		if passed > 24*time.Hour {
			t.Fatalf("a quiet day leaves capacity %d, want %d", a.capacity, c.minCap)
		}
	}
	if a.interval != c.maxInterval {
		t.Errorf("with everything idle the interval is %v, want %v", a.interval, c.maxInterval)
	}
	t.Logf("and back after %v of quiet", passed)
}

func FuzzControllerBounds(f *testing.F) {
	f.Add(8, 512, int64(1e8), int64(1e9), 32, int64(5e8), 9.5, 10, 1, 5.0, 5, 5, int64(1e9))
	f.Add(1, 1, int64(1), int64(1), 0, int64(0), -1.0, -1, -1, -1.0, -1, -1, int64(-1))
	f.Add(1, math.MaxInt, int64(1), int64(math.MaxInt64), math.MaxInt, int64(math.MaxInt64), math.MaxFloat64,
		math.MaxInt, math.MaxInt, math.MaxFloat64, math.MaxInt, math.MaxInt, int64(math.MaxInt64))
	f.Add(1, math.MaxInt, int64(1), int64(math.MaxInt64), math.MaxInt, int64(math.MaxInt64), math.Inf(1),
		math.MaxInt, 1, math.Inf(1), 0, 0, int64(math.MaxInt64))
	f.Add(3, 1000, int64(7), int64(9), math.MinInt, int64(math.MinInt64), math.Inf(-1),
		math.MinInt, math.MinInt, math.Inf(-1), math.MinInt, math.MinInt, int64(math.MinInt64))
	f.Add(0, 1, int64(1), int64(9), 0, int64(1), 0.0, 0, 1, 0.0, 1, 0, int64(1))
	f.Add(3, 1000, int64(7), int64(9), 5, int64(8), math.NaN(), 5, 1, math.NaN(), 1, 1, int64(1))
	f.Add(3, 1000, int64(7), int64(9), 5, int64(8), math.NaN(), 33, 1, math.NaN(), -79, 1, int64(1))
	f.Fuzz(func(t *testing.T, minCap, maxCap int, minInterval, maxInterval int64,
		capacity int, interval int64, reserve float64,
		idle, waited int, missing float64, attempted, succeeded int, elapsed int64) {
		c := controller{
			minCap: minCap, maxCap: maxCap,
			minInterval: time.Duration(minInterval), maxInterval: time.Duration(maxInterval),
		}
		if minCap < 0 || maxCap < max(minCap, 1) || minInterval < 1 || maxInterval < minInterval {
			t.Skip("the constructor refuses such bounds")
		}
		before := adjustment{capacity, time.Duration(interval), reserve}
		o := observation{idle, waited, missing, attempted, succeeded, time.Duration(elapsed)}
		a := c.step(before, o)
		if a.capacity < minCap || a.capacity > maxCap {
			t.Errorf("capacity %d is outside [%d, %d]", a.capacity, minCap, maxCap)
		}
		if a.interval < c.minInterval || a.interval > c.maxInterval {
			t.Errorf("interval %v is outside [%v, %v]", a.interval, c.minInterval, c.maxInterval)
		}
		if !(a.reserve >= 0 && a.reserve <= float64(maxCap)) {
			t.Errorf("reserve %v is outside [0, %d]", a.reserve, maxCap)
		}
		if mark := c.lowWater(a); mark < 1 || mark > max(a.capacity, 1) {
			t.Errorf("low water %d is outside [1, %d]", mark, max(a.capacity, 1))
		}
		if waited > 0 && attempted <= 0 && a.capacity < min(max(capacity, minCap), maxCap) {
			t.Errorf("capacity fell to %d with %d waiting and no dial failed", a.capacity, waited)
		}
	})
}
