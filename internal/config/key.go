package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	pool "github.com/tunnelpool/pool"
)

// keyVariable is the environment variable that may hold the key.
const keyVariable = "TUNNEL_KEY"

// KeySource is a key and where it came from.
type KeySource struct {
	Key     pool.Key
	Path    string // the file; empty when the key came from the environment
	Created bool   // it was made just now
	Loose   bool   // others on this machine can read the file
}

// ServerKey finds the server's key: in the given file, else in TUNNEL_KEY, else
// in the file 'key' of the state directory, where one is made if there is none.
func ServerKey(keyFile, stateDir string) (KeySource, error) {
	if src, err := givenKey(keyFile); err != nil || !src.Key.IsZero() {
		return src, err
	}
	path := filepath.Join(stateDir, "key")
	text, created, err := loadOrCreate(path, pool.NewKey().Text())
	if err != nil {
		return KeySource{}, err
	}
	src, err := parseKeyFile(path, text)
	if err != nil {
		return KeySource{}, fmt.Errorf("%w once that file is removed", err) // behind: "tunnel-server key show" prints a good one
	}
	src.Created = created
	return src, nil
}

// ClientKey finds the client's key in the same places as the server's. It
// makes none: a client needs the server's.
func ClientKey(keyFile, stateDir string) (KeySource, error) {
	src, err := ExistingKey(keyFile, stateDir)
	if err == nil && src.Key.IsZero() {
		path := filepath.Join(stateDir, "key")
		return src, fmt.Errorf("no key: give the one that 'tunnel-server key show' prints on the server with --key-file, in %s, or in the file %s", keyVariable, path)
	}
	return src, err
}

// ExistingKey finds the key in those places, and makes none: where there is none
// the zero KeySource is returned, and no error.
func ExistingKey(keyFile, stateDir string) (KeySource, error) {
	if src, err := givenKey(keyFile); err != nil || !src.Key.IsZero() {
		return src, err
	}
	path := filepath.Join(stateDir, "key")
	text, err := readLine(path)
	if errors.Is(err, fs.ErrNotExist) {
		return KeySource{}, nil
	}
	if err != nil {
		return KeySource{}, err
	}
	return parseKeyFile(path, text)
}

// givenKey takes the key that the caller named; none is no error.
func givenKey(keyFile string) (KeySource, error) {
	if keyFile != "" {
		text, err := readLine(keyFile)
		if err != nil {
			if _, bad := pool.ParseKey(keyFile); bad == nil && errors.Is(err, fs.ErrNotExist) {
				return KeySource{}, fmt.Errorf("--key-file: that is a key, and it wants a file's name; put the key into the file, or give it in %s", keyVariable)
			}
			return KeySource{}, fmt.Errorf("--key-file: %w", err)
		}
		src, err := parseKeyFile(keyFile, text)
		if err != nil {
			return KeySource{}, fmt.Errorf("--key-file: %w", err)
		}
		return src, nil
	}
	if text := os.Getenv(keyVariable); text != "" {
		key, err := pool.ParseKey(text)
		if err != nil {
			return KeySource{}, fmt.Errorf("%s: %w", keyVariable, err)
		}
		return KeySource{Key: key}, nil
	}
	return KeySource{}, nil
}

// ReadKeyFile returns the line that a file with a key should have.
func ReadKeyFile(path string) ([]byte, error) {
	line, err := readLine(path)
	return []byte(line), err
}

// KeyFile reads a key from a file.
func KeyFile(path string) (KeySource, error) {
	line, err := readLine(path)
	if err != nil {
		return KeySource{}, err
	}
	return parseKeyFile(path, line)
}

func parseKeyFile(path, text string) (KeySource, error) {
	key, err := pool.ParseKey(text)
	if err != nil {
		return KeySource{}, fmt.Errorf("%s: %w", path, err)
	}
	return KeySource{Key: key, Path: path, Loose: Loose(path)}, nil
}

// Loose reports whether others may read the file. Windows has no such modes.
func Loose(path string) bool {
	info, err := os.Stat(path)
	return err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0
}
