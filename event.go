package pool

import (
	"fmt"
	"log/slog"
	"time"
)

// Event is one thing that happened: a line for people, and the same for
// programs. docs/LOGS.md lists every Name with its keys.
type Event struct {
	Time  time.Time
	Level slog.Level
	Name  string      // stable, in snake_case: "client_joined"
	Text  string      // the line that a Logger without events writes
	Attrs []slog.Attr // stable keys in snake_case; durations are seconds
}

// EventLogger is what a [Logger] may be besides: then what happens comes to
// Event, and not to the four methods. See also [Wanted].
type EventLogger interface {
	Logger
	Event(Event)
}

// Facts are the attributes of an event: key, value, key, value and so on. A
// value is text, a bool, a number, a time.Duration, an error or a fmt.Stringer;
// one that is nil or "" is left out.
type Facts []any

// Tell sends what happened to l: to an [EventLogger] as an event, to any other
// Logger as the formatted text. Where the level is not [Wanted] nothing is made
// of facts and args.
func Tell(l Logger, level slog.Level, name string, facts Facts, format string, args ...any) {
	if !Wanted(l, level) {
		return
	}
	events, ok := l.(EventLogger)
	if !ok {
		tellText(l, level, format, args...)
		return
	}
	events.Event(Event{
		Time: time.Now(), Level: level, Name: name,
		Text: fmt.Sprintf(format, args...), Attrs: facts.attrs(),
	})
}

// Wanted reports whether l does anything with what is told it at a level: with a
// method Enabled(slog.Level) bool it says so itself, without one it does. A nil l
// is silent. Ask where the facts alone cost something.
func Wanted(l Logger, level slog.Level) bool {
	if e, ok := l.(interface{ Enabled(slog.Level) bool }); ok {
		return e.Enabled(level)
	}
	return l != nil
}

func tellText(l Logger, level slog.Level, format string, args ...any) {
	switch {
	case level >= slog.LevelError:
		l.Error(format, args...)
	case level >= slog.LevelWarn:
		l.Warn(format, args...)
	case level >= slog.LevelInfo:
		l.Info(format, args...)
	default:
		l.Debug(format, args...)
	}
}

func (f Facts) attrs() []slog.Attr {
	attrs := make([]slog.Attr, 0, len(f)/2)
	for ; len(f) >= 2; f = f[2:] {
		key, _ := f[0].(string)
		switch v := f[1].(type) {
		case nil:
		case string:
			if v != "" {
				attrs = append(attrs, slog.String(key, v))
			}
		case time.Duration:
			attrs = append(attrs, slog.Float64(key, v.Seconds()))
		case error:
			attrs = append(attrs, slog.String(key, v.Error()))
		case fmt.Stringer:
			attrs = append(attrs, slog.String(key, v.String()))
		default:
			attrs = append(attrs, slog.Any(key, v))
		}
	}
	return attrs
}
