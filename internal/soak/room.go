//go:build unix

package main

import (
	"fmt"
	"syscall"
)

// makeRoom raises the limit of open files for this process and those that it
// starts, as far as it may, and returns how many tunnels count users need: a
// server has two connections open for each, and keeps a quarter of its
// descriptors for other things.
func makeRoom(count int) (tunnels int, err error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("the limit of open files: %w", err)
	}
	const spare = 1000
	want := limit
	want.Max = atLeast(limit.Max, 3*count+spare)
	want.Cur = want.Max
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want) != nil {
		// That takes a privilege. What it has without must do.
		want = limit
		want.Cur = limit.Max
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want); err != nil {
			return 0, fmt.Errorf("the limit of open files: %w", err)
		}
	}
	has := int(min(want.Cur, 1<<24)) // it may be infinite
	if has < count+spare {
		return 0, fmt.Errorf("%d users need %d open files, and the limit is %d (ulimit -Hn)", count, count+spare, has)
	}
	each := (has-has/4)/2 - spare
	return max(1, (count+each-1)/each), nil
}

// atLeast is needed because a limit's type is not the same on every system.
func atLeast[T int64 | uint64](limit T, need int) T { return max(limit, T(need)) }
