package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/cli"
	"github.com/tunnelpool/pool/internal/config"
	"github.com/tunnelpool/pool/internal/keyfile"
	"github.com/tunnelpool/pool/tunnel"
)

// keys are those of a running server: the tunnel's own, and the file's.
type keys struct {
	ring *tunnel.Keyring
	own  config.KeySource
	path string
	file keyfile.File
}

// loadKeys reads all keys, and makes the tunnel's own if there is none.
func loadKeys(keyFile, stateDir string) (*keys, error) {
	path, err := keysPath(stateDir)
	if err != nil {
		return nil, err
	}
	k := &keys{path: path}
	if k.file, err = keyfile.Read(path); err != nil { // first: it may be a mistake
		return nil, cli.Usage(err)
	}
	if k.own, err = serverKey(keyFile, stateDir); err != nil {
		return nil, err
	}
	if e, ok := k.file.Find(defaultKey); ok && e.Off {
		k.own.Created = false // nothing to greet with
	}
	if k.ring, err = tunnel.NewKeyring(k.file.Grants(k.own.Key)...); err != nil {
		return nil, cli.Usagef("%s: %w", path, err)
	}
	return k, nil
}

// follow applies what becomes of the file until ctx ends.
func (k *keys) follow(ctx context.Context, log pool.Logger) {
	keyfile.Watch(ctx, k.path, k.file, func(f keyfile.File, err error) {
		if err == nil {
			err = k.ring.Set(f.Grants(k.own.Key)...)
		}
		if err != nil {
			pool.Tell(log, slog.LevelWarn, "keys_refused", pool.Facts{"path", k.path, "error", err}, "%v; the keys stay as they were", err)
			return
		}
		k.tell(log, "The keys have changed")
	})
}

// tell says which keys are let in.
func (k *keys) tell(log pool.Logger, what string) {
	const most = 20 // in a line
	var names []string
	all := k.ring.Grants()
	for _, g := range all[:min(len(all), most)] {
		names = append(names, g.Name)
	}
	more := ""
	if len(all) > most {
		more = fmt.Sprintf(" and %d more", len(all)-most)
	}
	if config.Loose(k.path) {
		pool.Tell(log, slog.LevelWarn, "key_readable", pool.Facts{"path", k.path}, "Others on this machine can read the keys: chmod 600 %s", k.path)
	}
	if len(all) == 0 {
		pool.Tell(log, slog.LevelWarn, "keys_loaded", pool.Facts{"path", k.path, "keys", 0}, "%s: no client is let in; tunnel-server key add NAME makes a key", what)
		return
	}
	pool.Tell(log, slog.LevelInfo, "keys_loaded", pool.Facts{"path", k.path, "keys", len(all)}, "%s, %s: %s%s", what, k.path, strings.Join(names, ", "), more)
}
