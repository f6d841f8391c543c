// Package logging is the logger of both programs: lines for people, or one JSON
// object per event. It writes to standard output, as
// github.com/NodePassProject/logs does, which makes the lines.
package logging

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/NodePassProject/logs"

	pool "github.com/tunnelpool/pool"
)

// Levels are the names of levels, and Formats those of formats.
const (
	Levels  = "debug, info, warn, error or none"
	Formats = "text or json"
)

// The formats.
const (
	Text = "text"
	JSON = "json"
)

// Options say what is written, and how.
type Options struct {
	Level    string // one of Levels
	Format   string // one of Formats
	Terminal bool   // standard output is one: progress may be shown there
	Color    bool   // of levels, in text
}

// Logger writes events from a level on, and keeps the recent ones whatever the
// level. It is safe for concurrent use.
type Logger struct {
	level    atomic.Int64 // a slog.Level
	people   *logs.Logger // for all levels: which are wanted is asked here
	programs slog.Handler // nil: the format is text
	terminal bool

	out      sync.Mutex // held to write, which may last: a terminal can be stopped
	progress string     // what stands in the terminal's last line, "" if nothing

	mu     sync.Mutex // guards recent, and never waits for out
	recent ring
}

var _ pool.EventLogger = (*Logger)(nil)

// silence is above every level.
const silence = slog.Level(1 << 10)

var levels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError, "none": silence,
}

// New makes a Logger. The error names the flag that cannot be.
func New(o Options) (*Logger, error) {
	l := &Logger{terminal: o.Terminal && o.Format == Text}
	if err := l.SetLevel(o.Level); err != nil {
		return nil, err
	}
	switch o.Format {
	case Text:
		l.people = logs.NewLogger(logs.Debug, o.Color)
	case JSON:
		l.programs = slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: lowerLevel})
	default:
		return nil, fmt.Errorf("--log-format %q: want %s", o.Format, Formats)
	}
	return l, nil
}

// lowerLevel writes a level as --log-level has it.
func lowerLevel(_ []string, a slog.Attr) slog.Attr {
	if level, ok := a.Value.Any().(slog.Level); ok && a.Key == slog.LevelKey {
		a.Value = slog.StringValue(strings.ToLower(level.String()))
	}
	return a
}

// SetLevel changes which events are written, for those that come after it.
func (l *Logger) SetLevel(name string) error {
	level, ok := levels[name]
	if !ok {
		return fmt.Errorf("--log-level %q: want %s", name, Levels)
	}
	l.level.Store(int64(level))
	return nil
}

func (l *Logger) written(level slog.Level) bool { return level >= slog.Level(l.level.Load()) }

// Enabled reports whether anything is done with events of a level.
func (l *Logger) Enabled(level slog.Level) bool { return level >= slog.LevelInfo || l.written(level) }

// Event writes an event, and keeps it.
func (l *Logger) Event(e pool.Event) {
	if !l.Enabled(e.Level) {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e = harmless(e)
	l.keep(e)
	l.out.Lock()
	defer l.out.Unlock()
	if !l.written(e.Level) { // asked here, so that SetLevel holds for all that is written after it
		return
	}
	if l.programs != nil {
		l.writeJSON(e)
		return
	}
	l.wipe()
	l.writeText(e)
	l.draw()
}

func (l *Logger) keep(e pool.Event) {
	if e.Level < slog.LevelInfo {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recent.add(e)
}

func (l *Logger) writeJSON(e pool.Event) {
	r := slog.NewRecord(e.Time, e.Level, e.Text, 0)
	r.AddAttrs(slog.String("event", e.Name))
	r.AddAttrs(e.Attrs...)
	_ = l.programs.Handle(context.Background(), r) // there is nowhere to say that it failed
}

func (l *Logger) writeText(e pool.Event) {
	switch {
	case e.Level >= slog.LevelError:
		l.people.Error("%s", e.Text)
	case e.Level >= slog.LevelWarn:
		l.people.Warn("%s", e.Text)
	case e.Level >= slog.LevelInfo:
		l.people.Info("%s", e.Text)
	default:
		l.people.Debug("%s", e.Text)
	}
}

// Recent returns the last events of info and above, the newest last, also those
// that were not written. The slice is the caller's.
func (l *Logger) Recent() []pool.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.recent.all()
}

// message is the event of a line that came as nothing but text.
const message = "message"

func (l *Logger) line(level slog.Level, format string, args []any) {
	if l.Enabled(level) {
		l.Event(pool.Event{Time: time.Now(), Level: level, Name: message, Text: fmt.Sprintf(format, args...)})
	}
}

// Debug writes a line.
func (l *Logger) Debug(format string, args ...any) { l.line(slog.LevelDebug, format, args) }

// Info writes a line.
func (l *Logger) Info(format string, args ...any) { l.line(slog.LevelInfo, format, args) }

// Warn writes a line.
func (l *Logger) Warn(format string, args ...any) { l.line(slog.LevelWarn, format, args) }

// Error writes a line.
func (l *Logger) Error(format string, args ...any) { l.line(slog.LevelError, format, args) }
