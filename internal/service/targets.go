package service

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/tunnelpool/pool/internal/wire"
)

// MaxTargets is how many targets one service can have.
const MaxTargets = 32

// A target that could not be reached is passed over for firstAvoidance, and for
// twice as long with every further failure up to maxAvoidance, each time a
// quarter more or less.
const (
	firstAvoidance = time.Second
	maxAvoidance   = 30 * time.Second
)

// Failure is why a target cannot serve a user.
type Failure struct {
	Address string
	Reason  wire.ResetReason // 0: it was reached, and a health check found it unwell
	Err     error
}

// Change tells that a target went down, or is well again.
type Change struct {
	Address string
	Why     *Failure // nil: it is well again
	Well    int      // how many are, of Of
	Of      int
}

// Targets are what one service leads to. Users are spread over them in turn. One
// that cannot be reached is passed over for a while, and then tried with one
// user; where there are health checks, these take a target out and back in. If
// there is one target only, every user is sent to it whatever its state. Safe for
// concurrent use.
type Targets struct {
	timeout time.Duration
	tell    func(Change)
	dial    func(ctx context.Context, address string, timeout time.Duration) (net.Conn, wire.ResetReason, error)

	mu   sync.Mutex // guards what follows, and the places
	all  []*place
	last int // whose turn it was
}

// place is one target.
type place struct {
	address  string
	failures int       // in a row
	failed   time.Time // the last of them
	avoided  time.Time // until then it is passed over
	unwell   bool      // a health check says so
	down     bool      // as it was told
}

// NewTargets makes them of 1 to MaxTargets addresses, each as [DialTarget] takes
// it. timeout bounds each dial. tell is told of every change, from any
// goroutine; it must not block.
func NewTargets(addresses []string, timeout time.Duration, tell func(Change)) *Targets {
	t := &Targets{timeout: timeout, tell: tell, dial: DialTarget, last: len(addresses) - 1}
	for _, a := range addresses {
		t.all = append(t.all, &place{address: a})
	}
	return t
}

// Dial connects a user to the target whose turn it is, or else to another. The
// failures are of those that were tried in vain, in order, when none was left; or
// the last is none of the target's, and no other was tried. Targets that are
// known to be down are tried last, and those that failed before not at all for a
// user who has waited for the time of a dial already.
func (t *Targets) Dial(ctx context.Context) (net.Conn, []Failure) {
	if len(t.all) == 1 {
		address := t.all[0].address
		conn, reason, err := t.dial(ctx, address, t.timeout)
		if err != nil {
			return nil, []Failure{{address, reason, err}}
		}
		return conn, nil
	}
	var failures []Failure
	var tried [MaxTargets]bool
	begun := time.Now()
	for {
		at := time.Now()
		p := t.next(&tried, at, len(failures) == 0 || at.Sub(begun) < t.timeout)
		if p == nil {
			return nil, failures
		}
		conn, reason, err := t.dial(ctx, p.address, t.timeout)
		if err == nil {
			t.reached(p)
			return conn, nil
		}
		f := Failure{p.address, reason, err}
		failures = append(failures, f)
		if !targetsOwn(reason) {
			return nil, failures
		}
		t.missed(p, at, f)
	}
}

// targetsOwn reports whether another target may be better off.
func targetsOwn(reason wire.ResetReason) bool {
	return reason == wire.ResetRefused || reason == wire.ResetTimeout || reason == wire.ResetUnreachable
}

// next is the next in turn that is not tried yet: one that is well or may be so
// again, else any. Without patience it is one that has not failed.
func (t *Targets) next(tried *[MaxTargets]bool, now time.Time, patience bool) *place {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, well := range []bool{true, false} {
		for i := range t.all {
			n := (t.last + 1 + i) % len(t.all)
			p := t.all[n]
			if tried[n] || well && !p.usable(now) || !patience && p.failures > 0 {
				continue
			}
			if well && p.failures > 0 { // this user finds out for all others
				p.avoided = now.Add(t.timeout)
			}
			tried[n], t.last = true, n
			return p
		}
		if !patience {
			break
		}
	}
	return nil
}

func (p *place) usable(now time.Time) bool { return !p.unwell && !now.Before(p.avoided) }

// missed notes that a dial failed which began at a time. Those of many users are
// one failure, if they were under way together.
func (t *Targets) missed(p *place, began time.Time, why Failure) {
	t.mu.Lock()
	if began.After(p.failed) {
		p.failures++
		p.failed = time.Now()
		p.avoided = p.failed.Add(avoidance(p.failures))
	}
	change := t.changeLocked(p, &why)
	t.mu.Unlock()
	t.told(change)
}

// reached notes that a user was connected.
func (t *Targets) reached(p *place) {
	t.mu.Lock()
	p.failures, p.avoided = 0, time.Time{}
	change := t.changeLocked(p, nil)
	t.mu.Unlock()
	t.told(change)
}

// checked notes what a health check found.
func (t *Targets) checked(p *place, why *Failure) {
	t.mu.Lock()
	if p.unwell = why != nil; !p.unwell {
		p.failures, p.avoided = 0, time.Time{}
	}
	change := t.changeLocked(p, why)
	t.mu.Unlock()
	t.told(change)
}

// changeLocked returns what is to be told of a target, if it has changed. why is
// nil for what looked well; the target is so only if nothing else is against it.
func (t *Targets) changeLocked(p *place, why *Failure) *Change {
	down := p.unwell || p.failures > 0
	if down == p.down || down && why == nil {
		return nil
	}
	p.down = down
	c := &Change{Address: p.address, Of: len(t.all)}
	if down {
		c.Why = why
	}
	for _, other := range t.all {
		if !other.down {
			c.Well++
		}
	}
	return c
}

func (t *Targets) told(c *Change) {
	if c != nil {
		t.tell(*c)
	}
}

// avoidance is how long to pass a target over after so many failures in a row.
func avoidance(failures int) time.Duration {
	return jitter(min(firstAvoidance<<min(failures-1, 10), maxAvoidance))
}

// jitter spreads d by a quarter.
func jitter(d time.Duration) time.Duration {
	return time.Duration((0.75 + rand.Float64()/2) * float64(d))
}
