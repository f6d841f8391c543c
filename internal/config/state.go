package config

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// StateDir says where a program keeps what must survive its restart: the
// directory of the flag, else the service manager's $STATE_DIRECTORY (its first,
// if it names several), else /var/lib/tunnelpool for root, else tunnelpool in
// the user's XDG state directory. It creates nothing.
func StateDir(flag string) (string, error) { return stateDir(flag, os.Geteuid() == 0) }

func stateDir(flag string, root bool) (string, error) {
	if flag != "" {
		return filepath.Abs(flag)
	}
	if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); dir != "" {
		return dir, nil
	}
	if root {
		return "/var/lib/tunnelpool", nil
	}
	// The XDG specification has relative paths ignored.
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "tunnelpool"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no place for state: %w; name one with --state-dir", err)
	}
	return filepath.Join(home, ".local", "state", "tunnelpool"), nil
}

// Writable says what would keep a program from making files in the state
// directory, which is made when it is not there yet; there tells whether it is.
func Writable(stateDir string) (there bool, err error) {
	for dir := stateDir; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir):
			continue
		case err == nil && !info.IsDir():
			err = errors.New("it is no directory")
		case err == nil:
			err = mayWrite(dir)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", dir, err)
		}
		return dir == stateDir, err
	}
}

// Identity returns the client's identity from the state directory, and makes
// one on first use.
func Identity(stateDir string) ([16]byte, error) {
	var id [16]byte
	path := filepath.Join(stateDir, identityFile)
	rand.Read(id[:])
	text, _, err := loadOrCreate(path, hex.EncodeToString(id[:]))
	if err != nil {
		return id, err
	}
	return parseIdentity(path, text)
}

// ExistingIdentity returns the client's identity, and makes none: where there is
// none it is zero, and no error is returned.
func ExistingIdentity(stateDir string) ([16]byte, error) {
	path := filepath.Join(stateDir, identityFile)
	text, err := readLine(path)
	if errors.Is(err, fs.ErrNotExist) {
		return [16]byte{}, nil
	}
	if err != nil {
		return [16]byte{}, fmt.Errorf("cannot read state: %w; name another place with --state-dir", err)
	}
	return parseIdentity(path, text)
}

// identityFile is its name in the state directory.
const identityFile = "identity"

func parseIdentity(path, text string) (id [16]byte, err error) {
	n, err := hex.Decode(id[:], []byte(text[:min(len(text), 2*len(id))]))
	if err != nil || n != len(id) || len(text) != 2*len(id) {
		return id, fmt.Errorf("%s does not hold an identity (%d hexadecimal digits); remove it to get a new one", path, 2*len(id))
	}
	return id, nil
}

// maxStateFile bounds what is read of a file that should hold one line.
const maxStateFile = 4096

// loadOrCreate reads a one-line file, or creates it with the given line. Of two
// programs that start at once both return what one of them wrote.
func loadOrCreate(path, line string) (text string, created bool, err error) {
	text, err = readLine(path)
	if err == nil {
		return text, false, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", false, fmt.Errorf("cannot read state: %w; name another place with --state-dir", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", false, fmt.Errorf("no place for state: %w; name another with --state-dir", err)
	}
	err = createWhole(path, line+"\n")
	if errors.Is(err, fs.ErrExist) {
		text, err = readLine(path)
		return text, false, err
	}
	if err != nil {
		return "", false, fmt.Errorf("cannot write state: %w; name another place with --state-dir", err)
	}
	return line, true, nil
}

// createWhole makes a file that appears with all its content or not at all,
// and never replaces another: written aside, then linked into place.
func createWhole(path, content string) error {
	aside, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(aside.Name())
	_, err = aside.WriteString(content)
	if err == nil {
		err = aside.Sync()
	}
	if closeErr := aside.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	err = os.Link(aside.Name(), path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// No hard links on this file system.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// readLine reads a file that holds one line; white space around it is ignored.
func readLine(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() && info.Mode()&fs.ModeNamedPipe == 0 {
		return "", fmt.Errorf("%s is not a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	// A pipe, as in --key-file <(…), has no size to ask for beforehand.
	data, err := io.ReadAll(io.LimitReader(f, maxStateFile+1))
	if err != nil {
		return "", err
	}
	if len(data) > maxStateFile {
		return "", fmt.Errorf("%s is too large to hold what is expected there", path)
	}
	return strings.TrimSpace(string(data)), nil
}
