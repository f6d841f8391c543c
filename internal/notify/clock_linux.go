package notify

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// reloading are the words for the begin of a reload. The time, by the clock that
// systemd goes by, lets it tell the answer to its signal from an earlier one.
func reloading() []string {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return []string{"RELOADING=1"}
	}
	return []string{"RELOADING=1", "MONOTONIC_USEC=" + strconv.FormatInt(now.Nano()/1000, 10)}
}
