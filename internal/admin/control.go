package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// ControlPath is the socket of a program in a state directory. A server and a client
// may have one directory.
func ControlPath(stateDir, program string) string {
	return filepath.Join(stateDir, program+".sock")
}

// maxSocketPath is what every system takes of a Unix socket's path: macOS and
// FreeBSD have 104 bytes with the zero at the end, Linux 108.
const maxSocketPath = 103

// Errors of ListenControl that a caller may want to tell apart.
var (
	ErrInUse   = errors.New("another running program has it")
	ErrTooLong = fmt.Errorf("its path has more than %d bytes; name a shorter directory with --state-dir", maxSocketPath)
)

// control is the socket's listener. It takes the socket away when it is closed,
// unless that is another program's by then.
type control struct {
	net.Listener
	path string
	mine fs.FileInfo
}

func (c *control) Close() error {
	err := c.Listener.Close()
	now, statErr := os.Lstat(c.path)
	if statErr == nil && os.SameFile(now, c.mine) && now.ModTime().Equal(c.mine.ModTime()) { // a number alone may be given again
		os.Remove(c.path)
	}
	return err
}

// ListenControl opens the socket, for its owner only. One that a program left
// behind which is gone is replaced. The error names the path in every case.
func ListenControl(path string) (net.Listener, error) {
	l, err := listenControl(path)
	if err != nil {
		return nil, fmt.Errorf("no control socket %s: %w", path, err)
	}
	return l, nil
}

func listenControl(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, ErrTooLong
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	// One at a time: programs that start together would each take the other's
	// socket for left behind.
	lock := flock.New(path + ".lock")
	if err := lock.Lock(); err != nil {
		return nil, err
	}
	defer lock.Unlock()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := bindPrivately(path)
	if err != nil {
		return nil, err
	}
	mine, err := os.Lstat(path)
	if err != nil {
		l.Close()
		return nil, err
	}
	return &control{l, path, mine}, nil
}

// removeStale makes way for a socket, unless somebody listens there.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&fs.ModeSocket == 0:
		return errors.New("there is a file of that name that is no socket")
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		conn.Close()
		return ErrInUse
	case !nobodyListens(err):
		return err
	}
	return os.Remove(path)
}
