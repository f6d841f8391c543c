package tunnel

import "time"

const (
	// A backend that failed a user gets no other for minDoubt, twice as long with
	// each further failure in a row, up to maxDoubt; then one per trialSpacing, to
	// see. It is trusted again when one of those was served, or trialTime after the
	// first of them if none has failed: that is longer than an ACK may take.
	minDoubt     = time.Second
	maxDoubt     = time.Minute
	trialSpacing = time.Second
	trialTime    = 5 * time.Second
)

// trust is what is thought of one client of a group after the users it had. The
// zero value is full trust. Others serve meanwhile; where all are doubtful, doubt
// means nothing.
type trust struct {
	failures int       // in a row
	until    time.Time // no user before then
	trial    time.Time // when the first user came after that; zero: none has
}

// failed notes a user who was not served, and reports whether that is news: those
// who were offered before it was known say nothing new.
func (t *trust) failed(now time.Time) bool {
	if t.trial.IsZero() && now.Before(t.until) {
		return false
	}
	t.until = now.Add(min(minDoubt<<min(t.failures, 10), maxDoubt))
	t.failures++
	t.trial = time.Time{}
	return true
}

// restored ends all doubt.
func (t *trust) restored() { *t = trust{} }

// doubtful reports whether others are to be preferred.
func (t *trust) doubtful(now time.Time) bool {
	if t.failures > 0 && !t.trial.IsZero() && now.Sub(t.trial) >= trialTime {
		t.restored()
	}
	return t.failures > 0
}

// due reports whether the next user is to be a trial.
func (t *trust) due(now time.Time) bool { return t.doubtful(now) && !now.Before(t.until) }

// tried notes that a user is offered, and reports whether it is a trial.
func (t *trust) tried(now time.Time) bool {
	if !t.due(now) {
		return false
	}
	if t.trial.IsZero() {
		t.trial = now
	}
	t.until = now.Add(trialSpacing)
	return true
}
