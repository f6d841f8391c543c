package pool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"
)

const (
	// initialDials is how many dials a pool begins with, and returns to when
	// the server is back: enough to fill a small pool in one go, few enough
	// that a server which refuses is not hammered.
	initialDials = 8

	// With overflow nobody waits for a dial, and handshakes would take the
	// processors from those who are being served. Beyond the first MinCap so many
	// begin in a second, and at most so many at once.
	calmRate  = 100
	calmDials = 16
)

// Planner takes the decisions of a client pool: how many connections to keep
// ready, how many dials to begin now, when to look again. It does no I/O, has
// no lock and reads no clock: it is told what happened and what time it is. So
// it decides for a pool that runs, and the same way for a simulation of one,
// which is how to try bounds on a traffic of one's own. NewClient makes the
// Planner of its pool itself.
//
// A Planner is not safe for concurrent use, and the times that it is told must
// not run backwards.
type Planner struct {
	cfg     PlannerConfig // never changes
	control controller    // never changes
	pace    *rate.Limiter // never changes; told the time, as the planner is
	calm    *rate.Limiter // beside pace, while nobody waits; nil without overflow

	state   adjustment
	stepped time.Time // when state was last adjusted; zero before the first Plan
	meter   meter
	waited  int // takers that had to wait since then
	tried   int // dials that ended since then
	brought int // of those, the ones that brought a connection

	looked time.Time // when the present half interval began
	peaks  [3]int    // most that were idle in it, and in the two before

	dialing  int  // dials under way
	parallel int  // dials allowed at once; grows with success
	proven   bool // the dial that ended last brought a connection
	backoff  backoff

	used    time.Time // when somebody took or waited
	demand  int       // takers that wait at the other end, until served
	backlog bool      // they began to wait when dials failed, so they say nothing of demand
}

// PlannerConfig bounds a [Planner]. The fields mean what they mean in
// [ClientConfig], with the same defaults. Of Limits a planner heeds MinCap, MaxCap,
// MaxIdle and MaxOpen.
type PlannerConfig struct {
	Limits
	MinInterval, MaxInterval time.Duration
	MaxDials                 int
	Overflow                 bool

	// single is a single-ended pool's. Its connections may serve once and go, so
	// that MaxDials may begin in each MinInterval, where MaxCap is lower. And its
	// dials may take long, by a log-in: who waits for one that is under way counts
	// once, and not in each step.
	single bool

	// Jitter returns a random duration of at least 0 and less than n, which is
	// positive. Default: math/rand/v2.
	Jitter func(n time.Duration) time.Duration
}

// Stock is what a pool has at one moment.
type Stock struct {
	Idle     int // connections ready to be handed out
	Out      int // connections in holders' hands
	Reserved int // of those, the ones whose idle place is kept, see [Pool.Reserve]
	Waiting  int // takers that wait on this side
	Wanted   int // how many somebody waits to see idle at once, see [Pool.WaitReady]

	shared bool // others share a bound with this pool
	spare  int  // dials that it leaves this pool now
}

// Step is what to do now, and when to ask again unless something wakes the
// pool earlier.
type Step struct {
	Dials int
	Again time.Duration

	short int // dials for takers who wait, which the shared bound forbids for now
}

// DialOutcome is how a dial ended.
type DialOutcome uint8

const (
	DialBrought   DialOutcome = iota // a connection is in the pool
	DialFailed                       // the other side's failure
	DialAbandoned                    // nobody's: the pool is ending
)

// NewPlanner makes the planner of a pool that is empty.
func NewPlanner(cfg PlannerConfig) (*Planner, error) {
	if err := cfg.fill(); err != nil {
		return nil, fmt.Errorf("pool: PlannerConfig.%w", err)
	}
	return newPlanner(cfg), nil
}

// newPlanner is NewPlanner for a configuration whose Limits one of their fill
// functions has passed, and the rest fillPace. MinCap may be 0 then.
func newPlanner(cfg PlannerConfig) *Planner {
	if cfg.MaxIdle > 0 { // what the sweep would close is not worth a dial
		cfg.MaxCap = min(cfg.MaxCap, cfg.MaxIdle)
	}
	c := controller{
		minCap: cfg.MinCap, maxCap: cfg.MaxCap,
		minInterval: cfg.MinInterval, maxInterval: cfg.MaxInterval,
	}
	perInterval := cfg.MaxCap
	if cfg.single {
		perInterval = max(perInterval, cfg.MaxDials)
	}
	perSecond := rate.Limit(float64(perInterval) / cfg.MinInterval.Seconds())
	p := &Planner{
		cfg: cfg, control: c, state: c.initial(),
		pace:     rate.NewLimiter(perSecond, perInterval),
		parallel: min(initialDials, cfg.MaxDials),
	}
	if cfg.Overflow {
		p.calm = rate.NewLimiter(calmRate, cfg.MinCap)
	}
	return p
}

// fill puts the defaults in and refuses what cannot work. Its errors begin with
// the field.
func (cfg *PlannerConfig) fill() error {
	if err := cfg.Limits.fillPlan(); err != nil {
		return err
	}
	return cfg.fillPace()
}

// fillPace is fill for what is not in Limits.
func (cfg *PlannerConfig) fillPace() error {
	if cfg.MaxDials < 0 {
		return fmt.Errorf("MaxDials is %d; it must not be negative", cfg.MaxDials)
	}
	if cfg.MinInterval < 0 || cfg.MaxInterval < 0 {
		return errors.New("MinInterval and MaxInterval must not be negative")
	}
	if cfg.MinInterval == 0 {
		cfg.MinInterval = defaultMinInterval
	}
	if cfg.MaxInterval == 0 {
		cfg.MaxInterval = max(defaultMaxInterval, cfg.MinInterval)
	}
	if cfg.MinInterval > cfg.MaxInterval {
		return fmt.Errorf("MinInterval %v exceeds MaxInterval %v", cfg.MinInterval, cfg.MaxInterval)
	}
	if cfg.MaxDials == 0 {
		cfg.MaxDials = defaultMaxDials
	}
	if cfg.Jitter == nil {
		cfg.Jitter = func(n time.Duration) time.Duration { return rand.N(n) }
	}
	return nil
}

// Capacity is how many idle connections the planner aims at.
func (p *Planner) Capacity() int { return p.state.capacity }

// Interval is the time between two adjustments.
func (p *Planner) Interval() time.Duration { return p.state.interval }

// Failing reports whether dials fail, so that the next ones come with growing
// pauses.
func (p *Planner) Failing() bool { return p.backoff.failures > 0 }

// Took notes that a connection was handed out, which left so many idle. It
// reports whether that is few enough to ask for a Plan at once.
func (p *Planner) Took(now time.Time, idle int) (urgent bool) {
	p.used = now
	p.meter.took(now)
	return !p.cfg.Overflow && idle < p.control.lowWater(p.state)
}

// Missed notes a taker that found none idle: one on this side that waits, or one
// at the other end that was served in another way. The former is worth a Plan at
// once, and neither is a Took.
func (p *Planner) Missed(now time.Time) {
	p.used = now
	if !p.Failing() {
		p.waited++
		p.meter.add(now, 1)
	}
}

// Demand notes that n takers wait at the other end. It is worth a Plan at once.
// Each of them is noted with Took, too, when it is served.
func (p *Planner) Demand(now time.Time, n int) {
	if n <= 0 {
		return
	}
	n = min(n, p.cfg.MaxCap)
	p.used, p.demand = now, n
	if p.Failing() {
		p.backlog = true
	}
	if p.backlog {
		p.meter.owed = n
		return
	}
	p.waited = max(p.waited, n)
	p.meter.waiting(now, n)
}

// Returned notes that a connection came back, which makes so many idle.
func (p *Planner) Returned(now time.Time, idle int) {
	p.meter.add(now, -1)
	p.peaks[0] = max(p.peaks[0], idle)
}

// Arrived notes that a dialed connection came, which makes so many idle.
func (p *Planner) Arrived(idle int) {
	p.peaks[0] = max(p.peaks[0], idle)
	p.demand = max(p.demand-1, 0)
	if p.demand == 0 {
		p.backlog = false
	}
}

// Unused notes that connections were closed because nobody needed them for long,
// which left so many idle: no more are kept ready until takers ask for more.
func (p *Planner) Unused(idle int) {
	p.state.capacity = min(p.state.capacity, idle)
	p.state.reserve = min(p.state.reserve, float64(idle))
	p.state = p.control.clamp(p.state)
}

// DialEnded notes how a dial that a Plan began has ended. It is worth a Plan at
// once.
func (p *Planner) DialEnded(begun, now time.Time, outcome DialOutcome) {
	p.dialing--
	switch outcome {
	case DialBrought:
		p.tried++
		p.brought++
		p.proven = true
		p.backoff.succeeded()
		p.meter.dialed(now.Sub(begun))
		p.parallel = min(max(p.parallel+1, initialDials), p.cfg.MaxDials)
	case DialFailed:
		p.tried++
		p.proven = false
		if p.backoff.failed(begun, now, p.busy(now), p.cfg.Jitter) {
			p.parallel = 1
		}
	}
}

// busy reports whether somebody uses the pool.
func (p *Planner) busy(now time.Time) bool {
	return !p.used.IsZero() && now.Sub(p.used) < busyWindow
}

// Plan adjusts capacity and interval when it is time, and says what to do now
// for a pool that has s. The dials it asks for count as under way until
// DialEnded.
func (p *Planner) Plan(now time.Time, s Stock) Step {
	if p.stepped.IsZero() {
		p.stepped, p.looked = now, now
	}
	if elapsed := now.Sub(p.stepped); elapsed >= p.due() {
		p.step(now, s, elapsed)
	}
	look := p.state.interval / 2
	if now.Sub(p.looked) >= look {
		p.looked = now
		p.peaks = [3]int{s.Idle, p.peaks[0], p.peaks[1]}
	}
	if s.Wanted > s.Idle {
		p.used = now
	}
	dials, short, pause := p.dials(now, s)
	p.dialing += dials
	again := min(p.due()-now.Sub(p.stepped), look-now.Sub(p.looked))
	if pause > 0 {
		again = min(again, pause)
	}
	return Step{Dials: dials, Again: max(again, time.Millisecond), short: short}
}

// due is how long after the last step the next one is: takers that wait are a
// reason not to let an interval pass.
func (p *Planner) due() time.Duration {
	if p.waited > 0 {
		return p.cfg.MinInterval
	}
	return p.state.interval
}

// step moves the controller with what happened since the last step.
func (p *Planner) step(now time.Time, s Stock, elapsed time.Duration) {
	p.stepped = now
	waited := p.waited
	if !p.cfg.single {
		waited = max(waited, s.Waiting)
	}
	p.state = p.control.step(p.state, observation{
		idle: s.Idle, waited: waited, missing: p.meter.peak,
		attempted: p.tried, succeeded: p.brought, elapsed: elapsed,
	})
	p.waited, p.tried, p.brought = 0, 0, 0
	p.meter.reset(now)
	if s.Idle > 0 && p.demand == 0 {
		p.meter.owed = 0 // nobody waits any more: the rest gave up
	}
}

// needed is how many dials must begin for the takers that wait: those under way
// are for some of them.
func (p *Planner) needed(s Stock) int { return max(s.Waiting-p.dialing, 0) }

// dials says how many dials to begin now, how many more takers wait for which a
// shared bound leaves no room, and how long to pause when backoff or pace hold
// back some.
func (p *Planner) dials(now time.Time, s Stock) (begin, short int, pause time.Duration) {
	want := s.Waiting + min(p.state.capacity+max(p.demand-s.Waiting, 0), p.cfg.MaxCap)
	want -= s.Idle + s.Reserved + p.dialing
	if p.cfg.Overflow || s.Idle >= p.control.lowWater(p.state) {
		want = p.lasting(want, s)
	}
	// Takers wait at the other end, so what looks idle here is not there: for
	// them the dials begin now, whatever may be back in a moment.
	want = max(want, min(p.demand, p.cfg.MaxCap-s.Idle-s.Reserved)-p.dialing)
	// So they do for whoever waits to see many idle, and does not take them.
	want = max(want, min(s.Wanted, p.cfg.MaxCap-s.Reserved)-s.Idle-p.dialing)
	if p.cfg.MaxOpen > 0 {
		want = min(want, p.cfg.MaxOpen-s.Idle-s.Out-p.dialing)
	}
	if want <= 0 {
		return 0, 0, 0
	}
	if wait := p.backoff.wait(now, p.busy(now)); wait > 0 {
		return 0, 0, wait
	}
	parallel, calm := p.parallel, p.calm
	if p.demand > 0 || s.Waiting > 0 || s.Wanted > s.Idle {
		calm = nil
	}
	switch {
	case p.proven && p.demand > 0: // the other end asks for them, and takes them
		parallel = p.cfg.MaxDials
	case calm != nil:
		parallel = min(parallel, calmDials)
	}
	want = min(want, parallel-p.dialing)
	held := want > 0
	if s.shared { // what the pace forbids, nobody is to make room for
		due := min(want, p.needed(s), int(p.pace.TokensAt(now)))
		short = max(due-s.spare, 0)
		want = min(want, s.spare)
		held = want > 0 || p.pace.TokensAt(now) < 1
	}
	for begin < want && (calm == nil || calm.AllowN(now, 1)) && p.pace.AllowN(now, 1) {
		begin++
	}
	if begin == 0 && held {
		pause = p.cfg.MinInterval / 4 // the pace gives a share of its tokens by then
	}
	return begin, short, pause
}

// lasting is what remains of want for a pool above its low-water mark. One that
// is out may be back in a moment, as recycled connections are. So what was
// missing all through an interval is dialed for, and what was missing half of
// one if all that is out would still find its place.
func (p *Planner) lasting(want int, s Stock) int {
	half := want - max(p.peaks[1]-s.Idle, 0)
	whole := want - max(p.peaks[1]-s.Idle, p.peaks[2]-s.Idle, 0)
	return max(whole, min(half, p.cfg.MaxCap-s.Idle-s.Out-p.dialing))
}
