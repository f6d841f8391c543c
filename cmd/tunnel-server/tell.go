package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/tunnelpool/pool/internal/admin"
	"github.com/tunnelpool/pool/internal/status"
)

// told is whether a running server has read the keys.
type told struct{ why error } // why not; nil if it has

// tellServer has the running server read its keys from the file at path, and
// returns when they are in effect. The error is of a server that does not take them.
func tellServer(ctx context.Context, path string) (told, error) {
	client := admin.Control(filepath.Dir(path), status.ServerProgram)
	defer client.Close()
	err := client.ReloadKeys(ctx)
	var refused *admin.RefusedError
	if errors.As(err, &refused) {
		return told{err}, fmt.Errorf("the running server keeps to the keys that it had: %w", err)
	}
	return told{err}, nil
}

// note is a sentence on it: what has happened, or what a server that could not be
// told does.
func (t told) note(done, soon string) string {
	switch {
	case t.why == nil:
		return done
	case errors.Is(t.why, admin.ErrNotRunning):
		return "No server was found running with this state directory; one that has no control socket " + soon + "."
	}
	return fmt.Sprintf("A running server could not be told (%v); it %s.", t.why, soon)
}
