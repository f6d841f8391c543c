package statuscmd

import (
	"fmt"
	"strconv"
	"time"
)

// count is a number of things.
func count[T ~int | ~int64 | ~uint64](n T) string { return strconv.FormatInt(int64(n), 10) }

// size is a number of bytes with three digits and a unit.
func size(bytes float64) string {
	const step = 1000
	for _, unit := range []string{"B", "kB", "MB", "GB", "TB"} {
		switch {
		case bytes < 999.5 && unit == "B":
			return fmt.Sprintf("%.0f B", bytes)
		case bytes < 9.995:
			return fmt.Sprintf("%.2f %s", bytes, unit)
		case bytes < 99.95:
			return fmt.Sprintf("%.1f %s", bytes, unit)
		case bytes < 999.5:
			return fmt.Sprintf("%.0f %s", bytes, unit)
		}
		bytes /= step
	}
	return fmt.Sprintf("%.0f PB", bytes)
}

// took is a short time, "" of none.
func took(seconds float64) string {
	switch ms := seconds * 1000; {
	case ms <= 0:
		return ""
	case ms < 9.95:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 999.5:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.1f s", seconds)
}

// lasted is a long time in its two largest units.
func lasted(seconds float64) string {
	d := time.Duration(max(seconds, 0) * float64(time.Second))
	days, hours, minutes := int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60
	switch {
	case days > 0:
		return fmt.Sprintf("%dd%dh", days, hours)
	case hours > 0:
		return fmt.Sprintf("%dh%dm", hours, minutes)
	case minutes > 0:
		return fmt.Sprintf("%dm%ds", minutes, int(d.Seconds())%60)
	}
	return fmt.Sprintf("%ds", int(d.Seconds()))
}
