package trial

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Machine describes where the figures are from.
func Machine() string {
	model := ""
	info, _ := os.ReadFile("/proc/cpuinfo") // Linux only
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = " of " + strings.TrimSpace(value)
			break
		}
	}
	system := runtime.GOOS + "/" + runtime.GOARCH
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		system += " " + strings.TrimSpace(string(release))
	}
	if control, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control"); err == nil {
		system += " with " + strings.TrimSpace(string(control))
	}
	load := ""
	if l, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = ", load " + strings.Join(strings.Fields(string(l))[:3], " ")
	}
	return fmt.Sprintf("%d processors%s, %s, %s%s", runtime.NumCPU(), model, system, runtime.Version(), load)
}
