package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// measure looks at a process: memory in use, descriptors, threads.
func measure(pid int) (sample, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return sample{}, err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return sample{}, err
	}
	return sample{rss: field(status, "VmRSS:") << 10, files: len(files), threads: int(field(status, "Threads:"))}, nil
}

// field is a number of /proc/PID/status.
func field(status []byte, name string) int64 {
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			if words := bytes.Fields(rest); len(words) > 0 {
				n, _ := strconv.ParseInt(string(words[0]), 10, 64)
				return n
			}
		}
	}
	return 0
}
