package tunnel

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tunnelpool/pool/internal/session"
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

// A peer whose life is in doubt has this long to give a sign of it: pingTrips of
// its round trips, at least minPing.
const (
	minPing   = 500 * time.Millisecond
	maxPing   = 2 * time.Second
	pingTrips = 4
)

// alive asks the peer for a sign of life.
func alive(ctx context.Context, link *session.Link) bool {
	roundTrip, _ := link.RTT()
	ctx, cancel := context.WithTimeout(ctx, min(max(pingTrips*roundTrip, minPing), maxPing))
	defer cancel()
	return link.Sign(ctx)
}

// silentLogger is the Logger of a configuration that names none.
type silentLogger struct{}

func (silentLogger) Debug(string, ...any)    {}
func (silentLogger) Info(string, ...any)     {}
func (silentLogger) Warn(string, ...any)     {}
func (silentLogger) Error(string, ...any)    {}
func (silentLogger) Enabled(slog.Level) bool { return false }

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
