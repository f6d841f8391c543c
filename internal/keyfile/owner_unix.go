//go:build unix

package keyfile

import (
	"os"
	"syscall"
)

// giveToOwner makes the owner of a directory that of a file in it, so that a
// server which runs as another user can read what root adds. The file is open,
// since that user may have put another in its place.
func giveToOwner(file *os.File, directory string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(directory)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return file.Chown(int(owner.Uid), int(owner.Gid))
}
