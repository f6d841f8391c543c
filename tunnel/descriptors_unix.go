//go:build unix

package tunnel

import "golang.org/x/sys/unix"

// descriptorLimit is how many files and sockets this process may have open.
func descriptorLimit() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return assumedDescriptors
	}
	return int(min(uint64(limit.Cur), maxDescriptors))
}
