package keyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/tunnelpool/pool/internal/watch"
)

// Name is the file's name in the server's state directory.
const Name = "keys.yaml"

// maxSize bounds a file: some ten thousand keys.
const maxSize = 4 << 20

// Read reads the keys of a file; without it there are none. Errors are one line
// with the path, and never hold a key.
func Read(path string) (File, error) {
	data, err := read(path)
	if err != nil {
		return File{}, err
	}
	return parseAt(path, data)
}

func parseAt(path string, data []byte) (File, error) {
	f, err := Parse(data)
	if err != nil {
		return f, fmt.Errorf("%s, %w", path, err)
	}
	return f, nil
}

// read returns the content of a file, none if there is no such file.
func read(path string) ([]byte, error) {
	data, err := watch.Bounded(path, maxSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// Add writes a key to the file, which is made with its directory if need be.
// Comments and layout stay.
func Add(path string, e Entry) error {
	return update(path, func(data []byte) ([]byte, error) { return add(data, e) })
}

// Revoke takes a key out of the file, with the comment right above it, or turns
// [Default] off. found is false if the file has no such key.
func Revoke(path, name string) (found bool, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && name != Default {
		return false, nil
	}
	err = update(path, func(data []byte) ([]byte, error) {
		f, err := Parse(data)
		if err != nil {
			return nil, err
		}
		e, there := f.Find(name)
		found = there || name == Default
		switch {
		case !found, name == Default && e.Off:
			return data, nil
		case name == Default:
			return turnOff(data)
		}
		return remove(data, name)
	})
	return found, err
}

// update replaces the file by what change makes of it, in one step; of commands
// that do so at the same time each builds on what the one before it made.
func update(path string, change func([]byte) ([]byte, error)) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("no place for state: %w; name another with --state-dir", err)
	}
	lock := flock.New(path+".lock", flock.SetPermissions(0o644)) // to read it is enough, whoever made it
	if err := lock.Lock(); err != nil {
		return fmt.Errorf("cannot lock the keys: %w", err)
	}
	defer lock.Close()
	data, err := read(path)
	if err != nil {
		return err
	}
	after, err := change(data)
	if err != nil {
		return fmt.Errorf("%s, %w", path, err)
	}
	if string(after) == string(data) {
		return nil
	}
	return replace(path, after)
}

// replace writes a file aside and puts it in the place of the former.
func replace(path string, data []byte) error {
	aside, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("cannot write the keys: %w", err)
	}
	defer os.Remove(aside.Name()) // unless it has got its name
	_, err = aside.Write(data)
	if err == nil {
		err = giveToOwner(aside, filepath.Dir(path))
	}
	if err == nil {
		err = aside.Sync()
	}
	if closeErr := aside.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(aside.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("cannot write the keys: %w", err)
	}
	return nil
}
