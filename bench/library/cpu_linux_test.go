package library

import (
	"time"

	"golang.org/x/sys/unix"
)

// processorTime is what this process has taken so far. Other work on the machine
// does not move it.
func processorTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
