//go:build !linux

package congestion

import (
	"net"
	"time"
)

// Window is what only Linux tells.
type Window struct{}

// Watch does nothing here.
func Watch(net.Conn) *Window { return &Window{} }

// Pause is 0.
func (*Window) Pause(int) time.Duration { return 0 }

// Steady does nothing here.
func Steady(net.Conn) {}
