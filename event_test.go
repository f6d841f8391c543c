package pool

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// keeper is an EventLogger that keeps events, and no lines.
type keeper struct {
	eventLog
	wanted slog.Level
	events []Event
}

func (k *keeper) Enabled(level slog.Level) bool { return level >= k.wanted }
func (k *keeper) Event(e Event)                 { k.events = append(k.events, e) }

// mine is a value that must not be looked at when nobody wants it.
type mine struct{ t *testing.T }

func (m mine) String() string {
	m.t.Error("made for nobody")
	return ""
}

func TestTellPlainLogger(t *testing.T) {
	log := make(eventLog, 4)
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		Tell(log, level, "user_lost", Facts{"user", "u"}, "%s lost: %d%%", "u", 7)
		require.Equal(t, logLine{level.String(), "u lost: 7%"}, <-log)
	}
	require.True(t, Wanted(log, slog.LevelDebug))
	for _, nobody := range []Logger{nil, silent{}} {
		require.False(t, Wanted(nobody, slog.LevelError))
		Tell(nobody, slog.LevelError, "user_lost", Facts{"user", mine{t}}, "%v", mine{t})
	}
}

func TestTellEvents(t *testing.T) {
	k := &keeper{wanted: slog.LevelInfo}
	begun := time.Now()
	Tell(k, slog.LevelWarn, "user_lost", Facts{
		"service", "web", "reason", "", "error", errors.New("odd"), "address", netip.MustParseAddrPort("192.0.2.1:7"),
		"wait_seconds", 1500 * time.Millisecond, "nothing", nil, "users", 3, "last", true, "no value",
	}, "service %q: lost", "web")
	require.Len(t, k.events, 1)
	e := k.events[0]
	require.False(t, e.Time.Before(begun))
	require.Equal(t, slog.LevelWarn, e.Level)
	require.Equal(t, "user_lost", e.Name)
	require.Equal(t, `service "web": lost`, e.Text)
	require.Equal(t, []slog.Attr{
		slog.String("service", "web"), slog.String("error", "odd"), slog.String("address", "192.0.2.1:7"),
		slog.Float64("wait_seconds", 1.5), slog.Any("users", 3), slog.Any("last", true),
	}, e.Attrs)

	Tell(k, slog.LevelDebug, "user_lost", Facts{"user", mine{t}}, "%v", mine{t})
	require.Len(t, k.events, 1, "an event that nobody wants")
}

// TestSlogLoggerEvents: a handler of log/slog gets name and attributes, and
// nothing below its level.
func TestSlogLoggerEvents(t *testing.T) {
	var out bytes.Buffer
	l := SlogLogger(slog.New(slog.NewJSONHandler(&out, nil)))
	Tell(l, slog.LevelDebug, "dial_failed", nil, "not wanted")
	Tell(l, slog.LevelWarn, "dial_failed", Facts{"error", errors.New("odd\x1b")}, "Pool: %s", "odd")
	l.(EventLogger).Event(Event{Level: slog.LevelDebug, Name: "dial_failed", Text: "not wanted either"})
	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line), "one line: %s", out.String())
	require.Contains(t, line, "time")
	delete(line, "time")
	require.Equal(t, map[string]any{"level": "WARN", "msg": "Pool: odd", "event": "dial_failed", "error": "odd\x1b"}, line)
}
