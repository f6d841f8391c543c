package pool

import "time"

// Backoff after failed dials. Nobody uses the pool: exponential with full
// jitter, as in "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015),
// up to half a minute. Somebody uses it: those who wait give up after some ten
// seconds, so the pauses stay short, mostly fixed, and no closer together than
// those of a client that reconnects.
const (
	backoffBase    = 100 * time.Millisecond
	backoffCeiling = 30 * time.Second
	busyCeiling    = 600 * time.Millisecond
	busyWindow     = 10 * time.Second // after a taker the pool counts as used
)

// backoff is how failed dials hold back the next ones.
type backoff struct {
	failures  int       // in a row; those of one burst count once
	failedAt  time.Time // dials begun before this do not count again
	notBefore time.Time // no dial earlier, unless somebody comes
}

// failed books a failure that ended now, of a dial begun then, and reports
// whether it counts.
func (b *backoff) failed(begun, now time.Time, busy bool, jitter func(time.Duration) time.Duration) bool {
	if !begun.After(b.failedAt) {
		return false
	}
	b.failures++
	b.failedAt = now
	b.notBefore = now.Add(b.pause(busy, jitter))
	return true
}

// pause is random, below a ceiling that doubles with each failure. It is never
// 0: a dial after the pause begins after the failure on any clock.
func (b *backoff) pause(busy bool, jitter func(time.Duration) time.Duration) time.Duration {
	ceiling := min(backoffBase<<min(b.failures-1, 16), backoffCeiling)
	if busy {
		ceiling = min(ceiling, busyCeiling)
		return ceiling - jitter(ceiling/4)
	}
	return max(jitter(ceiling), time.Millisecond)
}

func (b *backoff) succeeded() {
	b.failures = 0
	b.notBefore = time.Time{}
}

// wait is how long no dial may begin. Whoever comes during a long pause cuts
// it to what it would be had it begun with somebody there.
func (b *backoff) wait(now time.Time, busy bool) time.Duration {
	until := b.notBefore
	if soon := b.failedAt.Add(busyCeiling); busy && soon.Before(until) {
		until = soon
	}
	return until.Sub(now)
}
