//go:build !unix

package config

import "os"

// mayWrite says what keeps this program from making files in a directory.
func mayWrite(dir string) error {
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	f.Close()
	return os.Remove(f.Name())
}
