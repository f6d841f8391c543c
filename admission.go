package pool

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// What a failed attempt costs decides how many a second are bearable: a TLS
	// handshake about 0.3 ms of a processor, a proof without TLS a tenth of
	// that. One source thus takes 3 to 6 % of one processor at most.
	defaultFailureRate      = 200
	defaultFailureRatePlain = 1000

	// defaultFailureBurst is more than the places of a source, so that filling
	// them is not yet too much.
	defaultFailureBurst = 2 * defaultMaxHandshakesPerSource

	// Multiples of a source's rate and burst: for one with a live session, and
	// for all without one together. Addresses are cheap in IPv6: without the
	// latter, who has a /48 of them would have no limit at all.
	favoredFailures  = 4
	strangerFailures = 8

	// maxFailureRecords bounds the sources that are remembered. There are more
	// when the front door has more places than half of that, see newFailures.
	maxFailureRecords = 4096
)

// failures remembers whose attempts came to nothing, and refuses further ones
// of whom it was too much, before they cost anything. An attempt counts from
// its peer's first message until the proof, and after that only if it failed:
// who succeeds may come as often as it likes.
//
// Its memory is bounded. Of too many sources it forgets the one whose last
// attempt is longest ago.
type failures struct {
	limit      rate.Limit // of one source without a live session
	burst      int
	maxRecords int
	warnings   *rate.Limiter // of lines that tell of a single wrong proof
	unreported chan struct{} // has room for one: there is something to report

	mu        sync.Mutex // guards everything below
	records   map[netip.Prefix]*failureRecord
	order     list.List     // of *failureRecord; in front the one whose last attempt is longest ago
	strangers failureBudget // of all sources without a live session together
	others    failureCount  // to report of sources that have no record
	since     time.Time     // of what is to be reported; zero: nothing is
}

// failureRecord is what is known of one source.
type failureRecord struct {
	source    netip.Prefix
	budget    failureBudget
	favored   bool // whether budget is that of a favored source
	count     failureCount
	lastWrong time.Time     // its last wrong proof, or what was said of them
	element   *list.Element // in failures.order
}

// failureBudget is how many failures are bearable now: a token for each. Those
// in progress have not spent theirs, but it is spoken for.
type failureBudget struct {
	tokens   *rate.Limiter
	unproven int
}

func newFailureBudget(factor int, limit rate.Limit, burst int) failureBudget {
	return failureBudget{tokens: rate.NewLimiter(rate.Limit(factor)*limit, factor*burst)}
}

func (b *failureBudget) allows(now time.Time) bool {
	return b.tokens.TokensAt(now)-float64(b.unproven) >= 1
}

func (b *failureBudget) settle(now time.Time, failed bool) {
	b.unproven--
	if failed {
		b.tokens.AllowN(now, 1)
	}
}

// newFailures limits each source to limit and burst; rate.Inf means no limit.
// There can be as many attempts at once as the front door has places, and a
// source with one in progress is not forgotten: the records are more than that.
func newFailures(limit rate.Limit, burst, places int) *failures {
	return &failures{
		limit: limit, burst: burst, maxRecords: max(maxFailureRecords, 2*places),
		warnings:   rate.NewLimiter(warningsPerSecond, warningsBurst),
		unreported: make(chan struct{}, 1),
		records:    make(map[netip.Prefix]*failureRecord),
		strangers:  newFailureBudget(strangerFailures, limit, burst),
	}
}

// limited tells whose attempts count. A connection without an address, through
// a pipe for instance, has no source to tell from others.
func (f *failures) limited(source netip.Prefix) bool {
	return f.limit != rate.Inf && source.IsValid()
}

// begin asks whether an attempt may cost something. If so it is unproven until
// end is called for it, with the same source and favor.
func (f *failures) begin(source netip.Prefix, favored bool) bool {
	if !f.limited(source) {
		return true
	}
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !favored && !f.strangers.allows(now) {
		f.countLocked(f.records[source], failureCount{unheard: 1}, now)
		return false
	}
	r := f.recordLocked(source, favored, now)
	if !r.budget.allows(now) {
		f.countLocked(r, failureCount{unheard: 1}, now)
		return false
	}
	r.budget.unproven++
	if !favored {
		f.strangers.unproven++
	}
	return true
}

// end settles an attempt that begin allowed.
func (f *failures) end(source netip.Prefix, favored, failed bool) {
	if !f.limited(source) {
		return
	}
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !favored {
		f.strangers.settle(now, failed)
	}
	r := f.records[source] // not forgotten while the attempt was in progress
	r.budget.settle(now, failed)
	f.forgetCleanLocked(r, now)
}

// recordLocked finds or makes the record of a source.
func (f *failures) recordLocked(source netip.Prefix, favored bool, now time.Time) *failureRecord {
	factor := 1
	if favored {
		factor = favoredFailures
	}
	r := f.records[source]
	switch {
	case r == nil:
		f.makeRoomLocked(now)
		r = &failureRecord{source: source, favored: favored, budget: newFailureBudget(factor, f.limit, f.burst)}
		r.element = f.order.PushBack(r)
		f.records[source] = r
		return r
	case r.favored != favored:
		r.favored = favored
		r.budget.tokens.SetLimitAt(now, rate.Limit(factor)*f.limit)
		r.budget.tokens.SetBurstAt(now, factor*f.burst)
	}
	f.order.MoveToBack(r.element)
	return r
}

// makeRoomLocked forgets sources that are clean, and when there are too many
// one that is not.
func (f *failures) makeRoomLocked(now time.Time) {
	for range 2 { // one more than comes: what a flood has left goes away
		if front := f.order.Front(); front != nil {
			f.forgetCleanLocked(front.Value.(*failureRecord), now)
		}
	}
	for len(f.records) >= f.maxRecords {
		r := f.order.Front().Value.(*failureRecord)
		if r.budget.unproven > 0 {
			f.order.MoveToBack(r.element) // at most half of all are such
			continue
		}
		f.forgetLocked(r, now)
	}
}

// forgetCleanLocked forgets a source of which there is nothing to remember.
func (f *failures) forgetCleanLocked(r *failureRecord, now time.Time) {
	b := &r.budget
	if b.unproven == 0 && b.tokens.TokensAt(now) >= float64(b.tokens.Burst()) &&
		!r.count.any() && now.Sub(r.lastWrong) >= reportInterval {
		f.forgetLocked(r, now)
	}
}

func (f *failures) forgetLocked(r *failureRecord, now time.Time) {
	f.order.Remove(r.element)
	delete(f.records, r.source)
	if r.count.any() {
		f.countLocked(nil, r.count, now)
	}
}
