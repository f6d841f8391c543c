package tunnel

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"syscall"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/session"
)

const (
	// After a time-out the way may open at any moment: for eagerTime there is a
	// fresh dial every eagerPace, with jitter, and at most maxDials hang at once.
	eagerTime = 2 * time.Minute
	eagerPace = 500 * time.Millisecond
	maxDials  = 3

	// After a refusal or denial, and after eagerTime, pauses are exponential
	// with full jitter, for ever.
	reconnectBase    = 100 * time.Millisecond
	reconnectCeiling = 30 * time.Second

	// patientFailures is from when on the ceiling is reached.
	patientFailures = 10

	// steadySession is how long a session must last to count as a success. A
	// server that welcomes and hangs up again is not chased.
	steadySession = 10 * time.Second

	// usefulSession is how long one must last for its end not to deepen the
	// pauses past usefulFailures: on a path that breaks every few seconds users
	// are held for at most 1.6 s each time, not for half a minute.
	usefulSession  = time.Second
	usefulFailures = 4
)

// schedule decides when to try again. Its zero value is a client that has not
// tried yet.
type schedule struct {
	failures   int       // in a row, that a patient client would wait after
	eagerSince time.Time // of the time-outs in progress; zero: none
}

// ended takes the end of a session that lasted so long.
func (s *schedule) ended(err error, lasted time.Duration, now time.Time) (pause time.Duration) {
	switch {
	case lasted >= steadySession:
		*s = schedule{}
	case lasted >= usefulSession:
		s.failures = min(s.failures, usefulFailures)
	}
	if errors.Is(err, errReplaced) {
		s.failures = max(s.failures, patientFailures) // two clients must not chase each other
	}
	return s.failed(err, now)
}

// failed takes a failed attempt, or the end of a session. The pause that it
// returns has its jitter.
func (s *schedule) failed(err error, now time.Time) (pause time.Duration) {
	if timedOut(err) {
		if s.eagerSince.IsZero() {
			s.eagerSince = now
			return 0
		}
		if s.eager(now) {
			return jittered(eagerPace)
		}
	}
	s.failures++
	return rand.N(min(reconnectBase<<min(s.failures-1, patientFailures), reconnectCeiling))
}

// eager reports whether dials that hang are to make way for fresh ones.
func (s *schedule) eager(now time.Time) bool {
	return !s.eagerSince.IsZero() && now.Sub(s.eagerSince) < eagerTime
}

// timedOut reports whether nobody answered, or nobody had time to, in contrast
// to somebody who refused.
func timedOut(err error) bool {
	var ne net.Error
	return errors.Is(err, session.ErrSilent) || errors.Is(err, pool.ErrBusy) || errors.As(err, &ne) && ne.Timeout() ||
		errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)
}

// jittered spreads d by a fifth each way.
func jittered(d time.Duration) time.Duration { return d - d/5 + rand.N(2*d/5) }

// race connects with the server over a path that may lose everything for a
// while: beside a dial that hangs, fresh ones begin. The first to connect wins;
// the others are abandoned. It fails when the server refuses, when every dial
// has failed, or when ctx ends.
func (c *Client) race(ctx context.Context, connect func(context.Context) (net.Conn, error), eager bool) (net.Conn, error) {
	ctx, abandon := context.WithCancel(ctx)
	defer abandon()
	type dial struct {
		giveUp  context.CancelFunc
		gaveWay bool // to a fresh one
		conn    net.Conn
		err     error
	}
	results, over := make(chan *dial), make(chan struct{})
	defer close(over)
	var hanging []*dial // oldest first
	begin := func() {
		ctx, giveUp := context.WithCancel(ctx)
		d := &dial{giveUp: giveUp}
		hanging = append(hanging, d)
		c.tasks.Go(func() { // ends with the dial, and that with ctx
			defer giveUp()
			d.conn, d.err = connect(ctx)
			select {
			case results <- d:
			case <-over:
				if d.err == nil {
					d.conn.Close()
				}
			}
		})
	}
	begin()
	pace := time.NewTimer(jittered(eagerPace))
	defer pace.Stop()
	for {
		select {
		case d := <-results:
			hanging = slices.DeleteFunc(hanging, func(other *dial) bool { return other == d })
			switch {
			case d.err == nil:
				return d.conn, nil
			case d.gaveWay:
				begin()
				continue
			case len(hanging) > 0 && timedOut(d.err):
				continue
			}
			return nil, d.err
		case <-pace.C:
			pace.Reset(jittered(eagerPace))
			if len(hanging) < maxDials {
				begin()
			} else if eager { // the oldest makes way; the fresh one begins when it is gone
				hanging[0].gaveWay = true
				hanging[0].giveUp()
			}
		}
	}
}
