package main

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/certs"
	"github.com/tunnelpool/pool/internal/cli"
	"github.com/tunnelpool/pool/internal/config"
	"github.com/tunnelpool/pool/internal/logging"
	"github.com/tunnelpool/pool/internal/settings"
	"github.com/tunnelpool/pool/internal/watch"
	"github.com/tunnelpool/pool/tunnel"
)

// atStart are the settings that are read when the client starts.
var atStart = []string{"state-dir", "admin", "pprof", "log-format"}

// ofServices are the settings that say what the services and forwards are.
var ofServices = []string{
	"reverse", "forward", "group", "allow-from", "udp-idle", "rate", "max-streams-per-service",
	"connect-timeout", "health", "health-interval", "proxy-protocol",
}

// running is a client and what its settings have made of it.
type running struct {
	client   *tunnel.Client
	log      *logging.Logger
	certs    *certs.Store
	started  *settings.Settings
	stateDir string

	mu    sync.Mutex // held while the configuration changes; guards what follows
	flags publishFlags
	cfg   tunnel.ClientConfig
	key   config.KeySource
}

// server is what the client's settings call the server.
func (r *running) server() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.flags.server
}

// follow applies what becomes of the files with the certificates and the key, until
// ctx ends or stop is called.
func (r *running) follow(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	tasks.Go(func() { r.certs.Follow(ctx, r.certificates) }) // ends with ctx
	tasks.Go(func() {                                        // likewise
		watch.Files(ctx, r.keyFile, nil, func(now map[string]watch.Content) { r.followKey(now) })
	})
	return func() {
		cancel()
		tasks.Wait()
	}
}

// certificates applies certificates that have changed: those that the server is
// verified with take another session.
func (r *running) certificates(set *certs.Set, err error) {
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if now := r.certs.Client(); now != r.cfg.TLSConfig {
			cfg := r.cfg
			cfg.TLSConfig = now
			if _, err = r.client.Reconfigure(cfg); err == nil {
				r.cfg = cfg
			}
		}
	}
	cli.TellCertificate(r.log)(set, err)
}

// keyFile is the file that the key is from, if it is from one.
func (r *running) keyFile() []watch.File {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.key.Path == "" {
		return nil
	}
	return []watch.File{{Path: r.key.Path, Read: config.ReadKeyFile, Known: watch.Content{Data: r.key.Key.Text()}}}
}

// followKey applies what has become of the key. The server has to have it too: until
// then the session with the former one goes on.
func (r *running) followKey(now map[string]watch.Content) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var key config.KeySource
	err := now[r.key.Path].Err
	if err == nil {
		key, err = config.KeyFile(r.key.Path)
	}
	if err == nil {
		if key.Key.ID() == r.key.Key.ID() {
			return // it is back
		}
		cfg := r.cfg
		cfg.Key = key.Key
		if _, err = r.client.Reconfigure(cfg); err == nil {
			r.cfg, r.key = cfg, key
		}
	}
	if err != nil {
		pool.Tell(r.log, slog.LevelWarn, "keys_refused", pool.Facts{"path", r.key.Path, "error", err}, "%v; the key stays as it was", err)
		return
	}
	pool.Tell(r.log, slog.LevelInfo, "key_changed", pool.Facts{"path", key.Path, "key_id", key.Key.ID()}, "The key has changed, %s: key %v", key.Path, key.Key.ID())
}

// reload takes what the file holds now, or refuses it and changes nothing.
func (r *running) reload(data []byte) (next *settings.Settings, change cli.Change, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var f publishFlags
	if next, err = r.started.Again(data, f.add); err != nil {
		return nil, change, err
	}
	cfg, err := f.clientConfig()
	if err != nil {
		return next, change, err
	}
	if _, err := cli.Logger(f.logLevel, f.logFormat); err != nil { // only to check them
		return next, change, err
	}
	key := r.key
	if f.keyFile != r.flags.keyFile {
		if key, err = config.ClientKey(f.keyFile, r.stateDir); err != nil {
			return next, change, cli.Usage(err)
		}
	}
	former := r.certs.Set()
	r.certs.Use(f.certs.Set())
	cfg.Key, cfg.Identity, cfg.Logger, cfg.TLSConfig = key.Key, r.cfg.Identity, r.cfg.Logger, r.certs.Client()
	fields, err := r.client.Reconfigure(cfg)
	if err != nil {
		r.certs.Use(former)
		return next, change, refused(err)
	}
	change = cli.Change{
		Details: differences(&r.cfg, &cfg), Covered: ofServices,
		Restart: cli.Restarts(r.started, next, atStart, fields, flagOf),
	}
	err = r.log.SetLevel(f.logLevel)
	r.flags, r.cfg, r.key = f, cfg, key
	return next, change, err
}

// differences says which services and forwards have come, gone and changed.
func differences(before, after *tunnel.ClientConfig) (parts []string) {
	byName := func(s tunnel.Service) string { return s.Name }
	if text := compare(before.Services, after.Services, byName); text != "" {
		parts = append(parts, "services "+text)
	}
	if text := compare(before.Forwards, after.Forwards, forwardName); text != "" {
		parts = append(parts, "forwards "+text)
	}
	return parts
}

// forwardName is what the log calls a forward.
func forwardName(f tunnel.Forward) string {
	if f.Name != "" {
		return f.Name
	}
	return f.Listen
}

// compare tells two lists apart, as in "ssh added, web removed".
func compare[T any](before, after []T, name func(T) string) string {
	find := func(list []T, wanted string) (T, bool) {
		if i := slices.IndexFunc(list, func(t T) bool { return name(t) == wanted }); i >= 0 {
			return list[i], true
		}
		var none T
		return none, false
	}
	var parts []string
	for _, t := range after {
		former, ok := find(before, name(t))
		switch {
		case !ok:
			parts = append(parts, name(t)+" added")
		case !reflect.DeepEqual(t, former):
			parts = append(parts, name(t)+" changed")
		}
	}
	for _, t := range before {
		if _, ok := find(after, name(t)); !ok {
			parts = append(parts, name(t)+" removed")
		}
	}
	return strings.Join(parts, ", ")
}
