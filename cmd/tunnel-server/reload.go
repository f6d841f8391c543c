package main

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/tunnelpool/pool/internal/certs"
	"github.com/tunnelpool/pool/internal/cli"
	"github.com/tunnelpool/pool/internal/config"
	"github.com/tunnelpool/pool/internal/logging"
	"github.com/tunnelpool/pool/internal/settings"
	"github.com/tunnelpool/pool/tunnel"
)

// atStart are the settings that are read when the server starts.
var atStart = []string{"listen", "bind", "tls", "heartbeat", "state-dir", "admin", "pprof", "log-format"}

// running is a server and what its settings have made of it. One goroutine changes
// it, that of the reloads.
type running struct {
	server  *tunnel.Server
	log     *logging.Logger
	keys    *keys
	certs   *certs.Store
	flags   serveFlags
	started *settings.Settings
	cfg     tunnel.ServerConfig
}

// reload takes what the file holds now, or refuses it and changes nothing.
func (r *running) reload(data []byte) (next *settings.Settings, change cli.Change, err error) {
	var f serveFlags
	if next, err = r.started.Again(data, f.add); err != nil {
		return nil, change, err
	}
	cfg, err := f.serverConfig()
	if err != nil {
		return next, change, err
	}
	if _, err := cli.Logger(f.logLevel, f.logFormat); err != nil { // only to check them
		return next, change, err
	}
	own := r.keys.ownKey()
	if f.keyFile != r.flags.keyFile {
		if own, err = r.otherKey(f.keyFile); err != nil {
			return next, change, cli.Usage(err)
		}
	}
	// What a Reconfigure compares stays the same where nothing has changed.
	cfg.Listener, cfg.Inherited, cfg.Keyring, cfg.Logger = r.cfg.Listener, r.cfg.Inherited, r.cfg.Keyring, r.cfg.Logger
	former, set := r.certs.Set(), f.certs.Set()
	if !set.Empty() {
		r.certs.Use(set)
		cfg.TLSConfig = r.certs.Server()
	}
	fields, err := r.server.Reconfigure(cfg)
	if err == nil && f.keyFile != r.flags.keyFile {
		err = r.keys.useOwn(own, r.log)
	}
	if err != nil {
		r.certs.Use(former)
		return next, change, cli.ConfigError(err, flagOf)
	}
	change.Restart = cli.Restarts(r.started, next, atStart, fields, flagOf)
	if slices.Contains(change.Restart, "tls") { // the server runs on in the former mode
		r.certs.Use(former)
	}
	err = r.log.SetLevel(f.logLevel)
	r.flags, r.cfg = f, cfg
	return next, change, err
}

// otherKey finds the tunnel's own key where the settings have it now, and makes none.
// It is one that can be used beside those of the file.
func (r *running) otherKey(keyFile string) (config.KeySource, error) {
	dir := filepath.Dir(r.keys.path)
	own, err := config.ExistingKey(keyFile, dir)
	if err == nil && own.Key.IsZero() {
		err = fmt.Errorf("there is no key in %s: name its file with --key-file, or start the server anew, which makes one", dir)
	}
	if err == nil {
		err = r.keys.mayUse(own)
	}
	return own, err
}
