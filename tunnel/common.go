package tunnel

import (
	"fmt"
	"sync"
	"time"

	"github.com/tunnelpool/pool/internal/wire"
)

// ConfigError says which field of a configuration cannot work, and why.
type ConfigError struct {
	Field string // as in ServerConfig or ClientConfig
	Err   error
}

func (e *ConfigError) Error() string { return fmt.Sprintf("tunnel: %s: %v", e.Field, e.Err) }

// Unwrap returns Err.
func (e *ConfigError) Unwrap() error { return e.Err }

// badField makes a ConfigError of a formatted reason.
func badField(field, format string, args ...any) error {
	return &ConfigError{field, fmt.Errorf(format, args...)}
}

// setDefault fills a zero field.
func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func checkHeartbeat(d time.Duration) error {
	if d < wire.MinHeartbeat || d > wire.MaxHeartbeat {
		return badField("Heartbeat", "%v is not between %v and %v", d, wire.MinHeartbeat, wire.MaxHeartbeat)
	}
	return nil
}

// tally counts what is in progress and lets one wait for none.
type tally struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed when n falls to 0; made by wait
}

func (t *tally) add() {
	t.mu.Lock()
	t.n++
	t.mu.Unlock()
}

func (t *tally) done() {
	t.mu.Lock()
	t.n--
	if t.n == 0 && t.none != nil {
		close(t.none)
		t.none = nil
	}
	t.mu.Unlock()
}

func (t *tally) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}

// wait waits until none is in progress, but not past end. It returns how many
// are left.
func (t *tally) wait(end <-chan struct{}) int {
	t.mu.Lock()
	if t.n == 0 {
		t.mu.Unlock()
		return 0
	}
	if t.none == nil {
		t.none = make(chan struct{})
	}
	none := t.none
	t.mu.Unlock()
	select {
	case <-none:
	case <-end:
	}
	return t.count()
}

// silentLogger is the Logger of a configuration that names none.
type silentLogger struct{}

func (silentLogger) Debug(string, ...any) {}
func (silentLogger) Info(string, ...any)  {}
func (silentLogger) Warn(string, ...any)  {}
func (silentLogger) Error(string, ...any) {}

// seldom lets a message through that would otherwise come once per user: the
// first, and then one per period.
type seldom struct {
	mu    sync.Mutex
	last  time.Time
	muted int
}

const seldomPeriod = 30 * time.Second

// pass reports whether to log now, and how many were not since the last.
func (s *seldom) pass(now time.Time) (muted int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.last.IsZero() && now.Sub(s.last) < seldomPeriod {
		s.muted++
		return 0, false
	}
	muted, s.muted, s.last = s.muted, 0, now
	return muted, true
}
