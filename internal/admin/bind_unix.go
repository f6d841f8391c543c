//go:build unix

package admin

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// bindPrivately binds a socket that nobody else can open at any moment: in a
// directory of its own, from where it moves once its mode is right.
func bindPrivately(path string) (net.Listener, error) {
	aside, err := os.MkdirTemp(filepath.Dir(path), ".s") // mode 0700
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(aside)
	former := filepath.Join(aside, "s")
	if len(former) > maxSocketPath {
		return nil, ErrTooLong
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: former})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(former, 0o600); err == nil {
		err = os.Rename(former, path)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// nobodyListens reports whether a failed dial says that a socket was left behind.
func nobodyListens(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
