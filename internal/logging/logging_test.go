package logging

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/NodePassProject/logs"
	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// written runs do with a Logger and returns what it wrote to standard output.
func written(t *testing.T, o Options, do func(*Logger)) string {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	stdout := os.Stdout
	os.Stdout = w
	defer func() { os.Stdout = stdout }()
	all := make(chan string, 1)
	go func() { // ends when w is closed
		b, _ := io.ReadAll(r)
		r.Close()
		all <- string(b)
	}()
	l, err := New(o)
	require.NoError(t, err)
	do(l)
	w.Close()
	return <-all
}

// lost is an event that both formats are tested with.
func lost(l pool.Logger, level slog.Level) {
	pool.Tell(l, level, "user_lost", pool.Facts{"service", "web", "user", "192.0.2.1:7", "error", errors.New("odd")}, "%q: user lost: 7%%", "web")
}

var allLevels = []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}

func TestText(t *testing.T) {
	for name, lowest := range map[string]int{"debug": 0, "info": 1, "warn": 2, "error": 3, "none": 4} {
		out := written(t, Options{Level: name, Format: Text}, func(l *Logger) {
			for _, level := range allLevels {
				lost(l, level)
			}
			require.Len(t, l.Recent(), 3, "of info and above, whatever the level")
		})
		lines := strings.SplitAfter(out, "\n")
		require.Len(t, lines[:len(lines)-1], len(allLevels)-lowest, name)
		for i, level := range allLevels[lowest:] {
			require.Regexp(t, `^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  `+level.String()+`  "web": user lost: 7%\n$`, lines[i])
		}
	}
	out := written(t, Options{Level: "info", Format: Text, Color: true}, func(l *Logger) { lost(l, slog.LevelWarn) })
	require.Contains(t, out, "\x1b[33mWARN\x1b[0m  ")
}

func TestJSON(t *testing.T) {
	begun := time.Now()
	out := written(t, Options{Level: "warn", Format: JSON, Terminal: true, Color: true}, func(l *Logger) {
		for _, level := range allLevels {
			lost(l, level)
		}
		l.Progress("nothing for a program")
		l.Error("no %s", "event")
	})
	lines := bufio.NewScanner(strings.NewReader(out))
	for _, level := range []string{"warn", "error"} {
		require.True(t, lines.Scan())
		var got map[string]any
		require.NoError(t, json.Unmarshal(lines.Bytes(), &got))
		at, err := time.Parse(time.RFC3339Nano, got["time"].(string))
		require.NoError(t, err)
		require.WithinRange(t, at, begun, time.Now())
		delete(got, "time")
		require.Equal(t, map[string]any{
			"level": level, "event": "user_lost", "msg": `"web": user lost: 7%`, "service": "web", "user": "192.0.2.1:7", "error": "odd",
		}, got)
	}
	require.True(t, lines.Scan())
	require.Contains(t, lines.Text(), `"msg":"no event","event":"message"`)
	require.False(t, lines.Scan())
}

// TestHarmless: what a peer chose moves no cursor, and no key gets out, in
// either format and among the recent events.
func TestHarmless(t *testing.T) {
	key := pool.NewKey().Text()
	odd := "a\x1b[2J\u0085\u202e\r\n\x7f\xff" + key
	const want = `a\x1b[2J\u0085\u202e\r\n\x7f` + "\ufffd"
	for _, format := range []string{Text, JSON} {
		out := written(t, Options{Level: "info", Format: format}, func(l *Logger) {
			pool.Tell(l, slog.LevelInfo, "client_joined", pool.Facts{"client", odd}, "%s joined", odd)
			e := l.Recent()[0]
			require.Equal(t, want+"(a key, not shown) joined", e.Text)
			require.Equal(t, []slog.Attr{slog.String("client", want+"(a key, not shown)")}, e.Attrs)
		})
		require.Equal(t, 1, strings.Count(out, "\n"))
		require.NotContains(t, out, key)
		for _, r := range strings.TrimSuffix(out, "\n") {
			require.False(t, unprintable(r), "%q in %q", r, out)
		}
	}
}

// TestLinesLogger: the logger that makes our lines is a pool.Logger itself. Its
// own Event is another one, and it gets text.
func TestLinesLogger(t *testing.T) {
	out := written(t, Options{Level: "none", Format: Text}, func(*Logger) {
		lines := logs.NewLogger(logs.Info, false)
		require.NotImplements(t, (*pool.EventLogger)(nil), lines)
		lost(lines, slog.LevelWarn)
	})
	require.Regexp(t, `  WARN  "web": user lost: 7%\n$`, out)
}

func TestRecentIsBounded(t *testing.T) {
	l, err := New(Options{Level: "none", Format: Text})
	require.NoError(t, err)
	require.Empty(t, l.Recent())
	for n := range 3*kept + 7 {
		l.Info("%d", n)
		l.Debug("nobody wants it")
		recent := l.Recent()
		require.Len(t, recent, min(n+1, kept))
		require.Equal(t, fmt.Sprint(n), recent[len(recent)-1].Text, "newest last")
		require.Equal(t, fmt.Sprint(max(0, n+1-kept)), recent[0].Text)
	}
}

// TestStuckOutput: who asks for the recent events does not wait for a terminal
// that was stopped.
func TestStuckOutput(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	stdout := os.Stdout
	os.Stdout = w
	defer func() { os.Stdout = stdout }()
	l, err := New(Options{Level: "info", Format: JSON})
	require.NoError(t, err)
	long := strings.Repeat("x", 1<<20)
	var writing sync.WaitGroup
	writing.Go(func() { l.Info("more than a pipe takes: %s", long) }) // ends when the pipe is read
	first := make([]byte, 1)
	_, err = r.Read(first) // the writer is at it, and cannot go on
	require.NoError(t, err)
	require.Len(t, l.Recent(), 1)
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(io.Discard, r) }) // ends when w is closed
	writing.Wait()
	w.Close()
	reading.Wait()
	r.Close()
}

// TestSetLevel changes the level while many write: what comes after it obeys it.
func TestSetLevel(t *testing.T) {
	out := written(t, Options{Level: "error", Format: Text}, func(l *Logger) {
		require.EqualError(t, l.SetLevel("loud"), `--log-level "loud": want `+Levels)
		var writers sync.WaitGroup
		for range 4 {
			writers.Go(func() {
				for range 100 {
					lost(l, slog.LevelInfo)
				}
			})
		}
		for range 100 {
			for name := range levels {
				require.NoError(t, l.SetLevel(name))
			}
		}
		writers.Wait()
		require.NoError(t, l.SetLevel("none"))
		l.Error("too late")
		require.NoError(t, l.SetLevel("debug"))
		l.Debug("in time")
	})
	require.NotContains(t, out, "too late")
	require.True(t, strings.HasSuffix(out, "  DEBUG  in time\n"), out)
}

// TestProgress: the line is wiped before another is written, and drawn again.
func TestProgress(t *testing.T) {
	show := func(l *Logger) {
		l.Progress("1 of 2")
		l.Progress("1 of 2")
		l.Info("in between")
		l.Debug("not written")
		l.Progress("2 of 2")
		l.Progress("")
		l.Info("after")
	}
	out := written(t, Options{Level: "info", Format: Text, Terminal: true}, show)
	stamp := `\d{4}-\S+ \S+  INFO  `
	wipe := `\r\x1b\[K`
	require.Regexp(t, `^1 of 2`+wipe+stamp+`in between\n1 of 2`+wipe+`2 of 2`+wipe+stamp+`after\n$`, out)
	for what, o := range map[string]Options{
		"no terminal": {Level: "info", Format: Text}, "json": {Level: "info", Format: JSON, Terminal: true},
		"quiet": {Level: "warn", Format: Text, Terminal: true},
	} {
		require.NotContains(t, written(t, o, show), " of 2", what)
	}
}

func FuzzPrintable(f *testing.F) {
	for _, seed := range []string{"", "plain", "a\x1b[2J", "\u202e\u0085\xff", "Größe \u00a0", "\\x1b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		once := printable(text)
		require.False(t, strings.ContainsFunc(once, unprintable), "%q", once)
		require.True(t, utf8.ValidString(once))
		require.Equal(t, once, printable(once))
	})
}
