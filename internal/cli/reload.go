package cli

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/settings"
)

// Reload is how a running program takes its settings anew: when their file has
// changed, and on SIGHUP.
type Reload struct {
	Settings *settings.Settings // in use
	AtStart  []string           // settings that are read when the program starts
	Logger   pool.Logger

	// Try takes what the file holds now, or refuses it and changes nothing. It
	// returns the settings as soon as it has them, for errors that speak of them.
	Try func(data []byte) (*settings.Settings, Change, error)

	// Around runs each reload, so that the service manager knows of it.
	Around func(reload func())
}

// Change is what a reload has done.
type Change struct {
	Details []string // of what has changed, for people
	Covered []string // settings that Details tell of
	Restart []string // settings that have changed, and need a restart
}

// Start reloads from now on, until ctx ends or stop is called, which waits for a
// reload under way. Without a file nothing is followed, and SIGHUP does what it
// always does.
func (r *Reload) Start(ctx context.Context) (stop func()) {
	if r.Settings.Path == "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	hangup := make(chan os.Signal, 1) // never sent on Windows
	signal.Notify(hangup, syscall.SIGHUP)
	var task sync.WaitGroup
	task.Go(func() { // ends with ctx
		r.Settings.Follow(ctx, hangup, func(data []byte, err error) {
			r.Around(func() { r.reload(data, err) })
		})
	})
	return func() {
		cancel()
		task.Wait()
		signal.Stop(hangup)
	}
}

func (r *Reload) reload(data []byte, err error) {
	var next *settings.Settings
	var change Change
	if err == nil {
		next, change, err = r.Try(data)
		err = next.Explain(err)
	}
	path := r.Settings.Path
	if err != nil {
		text := Line(err)
		pool.Tell(r.Logger, slog.LevelWarn, "configuration_refused", pool.Facts{"path", path, "error", text}, "%s; the configuration stays as it was", text)
		return
	}
	changed := change.Details
	if names := slices.DeleteFunc(r.Settings.Differ(next), func(name string) bool {
		return slices.Contains(change.Covered, name) || slices.Contains(r.AtStart, name)
	}); len(names) > 0 {
		changed = append(changed, strings.Join(names, ", "))
	}
	r.Settings = next
	if text := strings.Join(changed, "; "); text != "" {
		pool.Tell(r.Logger, slog.LevelInfo, "configuration_changed", pool.Facts{"path", path, "changed", text}, "The configuration has changed: %s", text)
	} else {
		pool.Tell(r.Logger, slog.LevelInfo, "configuration_read", pool.Facts{"path", path}, "The configuration was read again: nothing of it has changed that can while the program runs")
	}
	if text := strings.Join(change.Restart, ", "); text != "" {
		pool.Tell(r.Logger, slog.LevelWarn, "restart_needed", pool.Facts{"path", path, "settings", text}, "The configuration has other values for what needs a restart: %s", text)
	}
}

// TellWarnings tells what is odd about settings, and no mistake.
func TellWarnings(log pool.Logger, s *settings.Settings) {
	for _, warning := range s.Warnings {
		pool.Tell(log, slog.LevelWarn, "variable_unknown", nil, "%s", warning)
	}
}

// Restarts are the settings that need a restart, by their flags' names: of those
// that are read at the start the ones that have changed since, and those of the
// fields that a Reconfigure has named.
func Restarts(started, now *settings.Settings, atStart, fields []string, flags map[string]string) (names []string) {
	for _, name := range started.Differ(now) {
		if slices.Contains(atStart, name) {
			names = append(names, name)
		}
	}
	for _, field := range fields {
		name := strings.TrimLeft(flags[field], "-")
		if name == "" {
			name = field
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
