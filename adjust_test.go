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
			adjustment{100, 800 * ms, 0}, observation{idle: 19, elapsed: sec},
			adjustment{100, 400 * ms, 0}},
		{"exactly 20% idle leaves it",
			adjustment{100, 800 * ms, 0}, observation{idle: 20, elapsed: sec},
			adjustment{100, 800 * ms, 0}},
		{"exactly 80% idle leaves it",
			adjustment{100, 400 * ms, 0}, observation{idle: 80, elapsed: sec},
			adjustment{100, 400 * ms, 0}},
		{"over 80% idle adds a quarter",
			adjustment{100, 400 * ms, 0}, observation{idle: 81, elapsed: sec},
			adjustment{100, 500 * ms, 1 * sec}},
		{"the interval stops at its minimum",
			adjustment{100, 120 * ms, 0}, observation{idle: 0, elapsed: sec},
			adjustment{100, 100 * ms, 0}},
		{"the interval stops at its maximum",
			adjustment{100, 900 * ms, 0}, observation{idle: 100, elapsed: sec},
			adjustment{100, 1000 * ms, 1 * sec}},

		// Failing dials.
		{"under 20% success gives up a quarter",
			adjustment{100, 500 * ms, 0}, observation{idle: 50, attempted: 100, succeeded: 19, elapsed: sec},
			adjustment{75, 500 * ms, 0}},
		{"failure wins over demand",
			adjustment{100, 500 * ms, 0}, observation{idle: 0, waited: 9, taken: 9, attempted: 10, succeeded: 1, elapsed: sec},
			adjustment{75, 250 * ms, 0}},
		{"failure stops at the minimum",
			adjustment{9, 500 * ms, 0}, observation{idle: 4, attempted: 3, elapsed: sec},
			adjustment{8, 500 * ms, 0}},
		{"20% to 80% success neither shrinks nor grows",
			adjustment{100, 500 * ms, 0}, observation{idle: 0, waited: 5, taken: 5, attempted: 10, succeeded: 8, elapsed: sec},
			adjustment{100, 250 * ms, 0}},

		// Demand.
		{"takers that waited double it",
			adjustment{32, 500 * ms, 0}, observation{idle: 10, waited: 1, taken: 30, attempted: 30, succeeded: 30, elapsed: sec},
			adjustment{64, 500 * ms, 0}},
		{"by no less than those who waited",
			adjustment{32, 500 * ms, 0}, observation{idle: 10, waited: 100, taken: 30, attempted: 30, succeeded: 30, elapsed: sec},
			adjustment{132, 500 * ms, 0}},
		{"waiting counts although no dial ended yet",
			adjustment{32, 500 * ms, 0}, observation{waited: 1, elapsed: sec},
			adjustment{64, 250 * ms, 0}},
		{"few idle and takers who did not wait add a quarter",
			adjustment{32, 500 * ms, 0}, observation{idle: 6, taken: 26, attempted: 5, succeeded: 5, elapsed: sec},
			adjustment{40, 250 * ms, 0}},
		{"a quarter is rounded down",
			adjustment{9, 500 * ms, 0}, observation{idle: 1, taken: 8, elapsed: sec},
			adjustment{11, 250 * ms, 0}},
		{"few idle without takers is a pool that is filling",
			adjustment{32, 500 * ms, 0}, observation{idle: 0, attempted: 5, succeeded: 5, elapsed: sec},
			adjustment{32, 250 * ms, 0}},
		{"growth stops at the maximum",
			adjustment{500, 500 * ms, 0}, observation{idle: 0, waited: 50, attempted: 5, succeeded: 5, elapsed: sec},
			adjustment{512, 250 * ms, 0}},

		// Quiet.
		{"quiet time adds up",
			adjustment{160, sec, 4 * sec}, observation{idle: 160, elapsed: 5 * sec},
			adjustment{160, sec, 9 * sec}},
		{"a full window gives back a sixteenth",
			adjustment{160, sec, 9 * sec}, observation{idle: 160, elapsed: sec},
			adjustment{150, sec, 0}},
		{"two windows in one step give back twice",
			adjustment{160, sec, 3 * sec}, observation{idle: 160, elapsed: 19 * sec},
			adjustment{141, sec, 2 * sec}},
		{"at least one is given back",
			adjustment{9, sec, 9 * sec}, observation{idle: 9, elapsed: sec},
			adjustment{8, sec, 0}},
		{"quiet stops at the minimum",
			adjustment{8, sec, 9 * sec}, observation{idle: 8, elapsed: sec},
			adjustment{8, sec, 0}},
		{"one who waited ends the quiet",
			adjustment{160, sec, 9 * sec}, observation{idle: 160, waited: 1, attempted: 2, succeeded: 1, elapsed: sec},
			adjustment{160, sec, 0}},
		{"a burst that was refilled within the step ends the quiet",
			adjustment{160, sec, 9 * sec}, observation{idle: 160, taken: 90, elapsed: sec},
			adjustment{160, sec, 0}},
		{"a few takers do not",
			adjustment{160, sec, 9 * sec}, observation{idle: 160, taken: 10, elapsed: sec},
			adjustment{150, sec, 0}},
		{"a clock that stood still is no quiet",
			adjustment{160, sec, 9 * sec}, observation{idle: 160},
			adjustment{160, sec, 0}},
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
		{"growth", 1, observation{idle: 0, taken: 1}, 2},
		{"doubling", 1, observation{waited: 1}, 2},
		{"failure", 2, observation{attempted: 1}, 1},
		{"quiet", 2, observation{idle: 2, elapsed: quietWindow}, 1},
	}
	for _, tt := range tests {
		a := adjustment{capacity: tt.capacity, interval: c.minInterval}
		if got := c.step(a, tt.o).capacity; got != tt.want {
			t.Errorf("%s takes capacity %d to %d, want %d", tt.name, tt.capacity, got, tt.want)
		}
	}
}

// A burst of people who wait brings the pool from its minimum to its maximum in
// a few steps, and after it the pool comes all the way down again, slowly.
func TestControllerBurstAndQuiet(t *testing.T) {
	c, a := testController, testController.initial()
	steps := 0
	for ; a.capacity < c.maxCap; steps++ {
		if steps == 10 {
			t.Fatalf("after %d steps with people waiting capacity is %d", steps, a.capacity)
		}
		a = c.step(a, observation{waited: 1, taken: a.capacity, attempted: 1, succeeded: 1, elapsed: a.interval})
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
	f.Add(8, 512, int64(1e8), int64(1e9), 32, int64(5e8), int64(0), 10, 1, 5, 5, 5, int64(1e9))
	f.Add(1, 1, int64(1), int64(1), 0, int64(0), int64(-1), -1, -1, -1, -1, -1, int64(-1))
	f.Add(1, math.MaxInt, int64(1), int64(math.MaxInt64), math.MaxInt, int64(math.MaxInt64), int64(math.MaxInt64),
		math.MaxInt, math.MaxInt, math.MaxInt, math.MaxInt, math.MaxInt, int64(math.MaxInt64))
	f.Add(1, math.MaxInt, int64(1), int64(math.MaxInt64), math.MaxInt, int64(math.MaxInt64), int64(math.MaxInt64),
		math.MaxInt, 0, 0, 0, 0, int64(math.MaxInt64))
	f.Add(3, 1000, int64(7), int64(9), math.MinInt, int64(math.MinInt64), int64(math.MinInt64),
		math.MinInt, math.MinInt, math.MinInt, math.MinInt, math.MinInt, int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, minCap, maxCap int, minInterval, maxInterval int64,
		capacity int, interval, quiet int64,
		idle, waited, taken, attempted, succeeded int, elapsed int64) {
		c := controller{
			minCap: minCap, maxCap: maxCap,
			minInterval: time.Duration(minInterval), maxInterval: time.Duration(maxInterval),
		}
		if minCap < 1 || maxCap < minCap || minInterval < 1 || maxInterval < minInterval {
			t.Skip("the constructor refuses such bounds")
		}
		before := adjustment{capacity, time.Duration(interval), time.Duration(quiet)}
		o := observation{idle, waited, taken, attempted, succeeded, time.Duration(elapsed)}
		a := c.step(before, o)
		if a.capacity < minCap || a.capacity > maxCap {
			t.Errorf("capacity %d is outside [%d, %d]", a.capacity, minCap, maxCap)
		}
		if a.interval < c.minInterval || a.interval > c.maxInterval {
			t.Errorf("interval %v is outside [%v, %v]", a.interval, c.minInterval, c.maxInterval)
		}
		if a.quiet < 0 || a.quiet >= quietWindow {
			t.Errorf("quiet %v is outside [0, %v)", a.quiet, quietWindow)
		}
		if mark := c.lowWater(a); mark < 1 || mark > a.capacity {
			t.Errorf("low water %d is outside [1, %d]", mark, a.capacity)
		}
		if waited > 0 && attempted <= 0 && a.capacity < min(max(capacity, minCap), maxCap) {
			t.Errorf("capacity fell to %d with %d waiting and no dial failed", a.capacity, waited)
		}
	})
}
