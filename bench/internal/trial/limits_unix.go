//go:build unix

package trial

import "syscall"

// descriptors is what the largest measurement needs, and then some: 10,000
// pooled connections, or 5,000 users that have two in each program.
const descriptors = 50_000

// RaiseLimits lets the programs open as many connections as the measurements
// need, as far as it is allowed to.
func RaiseLimits() {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil && limit.Cur < descriptors {
		wanted := syscall.Rlimit{Cur: descriptors, Max: max(limit.Max, descriptors)}
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &wanted) != nil {
			limit.Cur = limit.Max
			_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) // the report of what failed will tell
		}
	}
}

// openFiles is how many files a program started from here may have open.
func openFiles() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return descriptors
	}
	return int(min(uint64(limit.Cur), descriptors))
}
