package pool

import (
	"context"
	"fmt"
	"log/slog"
)

// Logger takes what a pool has to say. *logs.Logger of
// github.com/NodePassProject/logs satisfies it as it is; [SlogLogger] adapts
// log/slog. One that is an [EventLogger] too gets events with attributes instead
// of lines. Implementations must be safe for concurrent use.
type Logger interface {
	Debug(format string, args ...any)
	Info(format string, args ...any)
	Warn(format string, args ...any)
	Error(format string, args ...any)
}

// SlogLogger returns a Logger that writes to l; a nil l means slog.Default(). It
// is an [EventLogger]: a record has the event's name as "event", and its
// attributes.
func SlogLogger(l *slog.Logger) Logger {
	if l == nil {
		l = slog.Default()
	}
	return slogLogger{l}
}

type slogLogger struct{ l *slog.Logger }

func (s slogLogger) Debug(format string, args ...any) { s.l.Debug(fmt.Sprintf(format, args...)) }
func (s slogLogger) Info(format string, args ...any)  { s.l.Info(fmt.Sprintf(format, args...)) }
func (s slogLogger) Warn(format string, args ...any)  { s.l.Warn(fmt.Sprintf(format, args...)) }
func (s slogLogger) Error(format string, args ...any) { s.l.Error(fmt.Sprintf(format, args...)) }

func (s slogLogger) Enabled(level slog.Level) bool {
	return s.l.Enabled(context.Background(), level)
}

func (s slogLogger) Event(e Event) {
	r := slog.NewRecord(e.Time, e.Level, e.Text, 0)
	r.AddAttrs(slog.String("event", e.Name))
	r.AddAttrs(e.Attrs...)
	ctx := context.Background()
	if h := s.l.Handler(); h.Enabled(ctx, e.Level) {
		_ = h.Handle(ctx, r) // as slog's own methods do
	}
}

// silent is the Logger of a configuration that names none.
type silent struct{}

func (silent) Debug(string, ...any)    {}
func (silent) Info(string, ...any)     {}
func (silent) Warn(string, ...any)     {}
func (silent) Error(string, ...any)    {}
func (silent) Enabled(slog.Level) bool { return false }

func orSilent(l Logger) Logger {
	if l == nil {
		return silent{}
	}
	return l
}
