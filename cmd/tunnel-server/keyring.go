package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/cli"
	"github.com/tunnelpool/pool/internal/config"
	"github.com/tunnelpool/pool/internal/keyfile"
	"github.com/tunnelpool/pool/internal/watch"
	"github.com/tunnelpool/pool/tunnel"
)

// keys are those of a running server: the tunnel's own, and the file's.
type keys struct {
	ring *tunnel.Keyring
	path string // of the file

	reading sync.Mutex // held from when the file is read until it is applied

	mu   sync.Mutex // guards what follows
	own  config.KeySource
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

// follow applies what becomes of the files until ctx ends.
func (k *keys) follow(ctx context.Context, log pool.Logger) {
	var own sync.WaitGroup
	own.Go(func() { // ends with ctx
		watch.Files(ctx, k.ownFile, nil, func(now map[string]watch.Content) { k.followOwn(now, log) })
	})
	defer own.Wait()
	k.mu.Lock()
	known := k.file
	k.mu.Unlock()
	keyfile.Watch(ctx, k.path, known, func(f keyfile.File, err error) {
		k.reading.Lock()
		defer k.reading.Unlock()
		if err == nil {
			if now, badNow := keyfile.Read(k.path); badNow != nil || !now.Same(f) {
				return // reload may have applied what came after; the next looks find it too
			}
		}
		_ = k.useFile(f, err, log)
	})
}

// reload reads the file of keys at once, and returns when what it says is in effect
// at the server.
func (k *keys) reload(server *tunnel.Server, log pool.Logger) error {
	k.reading.Lock()
	defer k.reading.Unlock()
	f, err := keyfile.Read(k.path)
	if err = k.useFile(f, err, log); err == nil {
		server.ApplyKeyring()
	}
	return err
}

// useFile applies what the file of keys holds, unless that is in use already, or
// tells why it cannot be.
func (k *keys) useFile(f keyfile.File, err error, log pool.Logger) error {
	if err == nil {
		k.mu.Lock()
		known := f.Same(k.file)
		k.mu.Unlock()
		if known {
			return nil
		}
		err = k.set(func() { k.file = f })
	}
	if err != nil {
		pool.Tell(log, slog.LevelWarn, "keys_refused", pool.Facts{"path", k.path, "error", err}, "%v; the keys stay as they were", err)
		return err
	}
	k.tell(log, "The keys have changed")
	return nil
}

// ownFile is the file of the tunnel's own key, if it is from one.
func (k *keys) ownFile() []watch.File {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.own.Path == "" {
		return nil
	}
	return []watch.File{{Path: k.own.Path, Read: config.ReadKeyFile, Known: watch.Content{Data: k.own.Key.Text()}}}
}

// followOwn applies what has become of the tunnel's own key.
func (k *keys) followOwn(now map[string]watch.Content, log pool.Logger) {
	former := k.ownKey()
	var own config.KeySource
	err := now[former.Path].Err
	if err == nil {
		own, err = config.KeyFile(former.Path)
	}
	if err == nil {
		if own.Key.ID() == former.Key.ID() {
			return // it is back
		}
		err = k.set(func() {
			if k.own.Path == former.Path { // else it is from another place by now
				k.own = own
			}
		})
	}
	if err != nil {
		pool.Tell(log, slog.LevelWarn, "keys_refused", pool.Facts{"path", former.Path, "error", err}, "%v; the key stays as it was", err)
		return
	}
	tellOwn(log, own)
}

// ownKey is the tunnel's own key.
func (k *keys) ownKey() config.KeySource {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.own
}

// mayUse says what is wrong with a key as the tunnel's own.
func (k *keys) mayUse(own config.KeySource) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, err := tunnel.NewKeyring(k.file.Grants(own.Key)...); err != nil {
		return fmt.Errorf("--key-file %s: %w", own.Path, err)
	}
	return nil
}

// useOwn replaces the tunnel's own key by one of another place.
func (k *keys) useOwn(own config.KeySource, log pool.Logger) error {
	former := k.ownKey()
	err := k.set(func() { k.own = own })
	if err == nil && own.Key.ID() != former.Key.ID() {
		tellOwn(log, own)
	}
	return err
}

// tellOwn says that the tunnel's own key is another one.
func tellOwn(log pool.Logger, own config.KeySource) {
	if own.Loose {
		pool.Tell(log, slog.LevelWarn, "key_readable", pool.Facts{"path", own.Path}, "Others on this machine can read the key: chmod 600 %s", own.Path)
	}
	pool.Tell(log, slog.LevelInfo, "key_changed", pool.Facts{"path", own.Path, "key_id", own.Key.ID()}, "The tunnel's own key has changed, %s: key %v", own.Path, own.Key.ID())
}

// set changes the keys, or nothing: after an error they are what they were.
func (k *keys) set(change func()) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	own, file := k.own, k.file
	change()
	if err := k.ring.Set(k.file.Grants(k.own.Key)...); err != nil {
		k.own, k.file = own, file
		return err
	}
	return nil
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
