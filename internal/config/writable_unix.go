//go:build unix

package config

import "golang.org/x/sys/unix"

// mayWrite says what keeps this program from making files in a directory.
func mayWrite(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }
