package trial

import (
	"math/rand/v2"
	"time"

	"github.com/tunnelpool/pool"
)

// ours asks the planner that decides for a real pool. It does what the pool's
// maintainer does with the answers.
type ours struct{ planner *pool.Planner }

func newOurs(minCap int, seed uint64) rule {
	random := rand.New(rand.NewPCG(seed, 3))
	planner, err := pool.NewPlanner(pool.PlannerConfig{
		Limits:      pool.Limits{MinCap: minCap, MaxCap: maxCap},
		MinInterval: minInterval, MaxInterval: maxInterval,
		Jitter: func(n time.Duration) time.Duration { return time.Duration(random.Int64N(int64(n))) },
	})
	if err != nil {
		panic(err) // the bounds are ours
	}
	return ours{planner}
}

// clock is the world's time as the planner is told it.
func clock(t time.Duration) time.Time { return time.Unix(0, 0).Add(warmUp + t) }

func (r ours) wake(w *world) {
	step := r.planner.Plan(clock(w.now), pool.Stock{Idle: w.clientIdle, Out: w.clientOut})
	for range step.Dials {
		w.dial()
	}
	w.wakeAt(w.now + step.Again)
}

func (r ours) took(w *world) {
	if r.planner.Took(clock(w.now), w.clientIdle) {
		r.wake(w)
	}
}

func (r ours) returned(w *world) { r.planner.Returned(clock(w.now), w.clientIdle) }

func (r ours) need(w *world, waiting int) {
	r.planner.Demand(clock(w.now), waiting)
	r.wake(w)
}

func (r ours) dialEnded(w *world, begun time.Duration, brought bool) {
	outcome := pool.DialFailed
	if brought {
		outcome = pool.DialBrought
		r.planner.Arrived(w.clientIdle)
	}
	r.planner.DialEnded(clock(begun), clock(w.now), outcome)
	r.wake(w)
}
