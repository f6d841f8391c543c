package e2e

import (
	"os/exec"
	"syscall"
)

// dieWithTests has the kernel kill a program when the thread that starts it
// ends. Go's threads last as long as the process, but for those of goroutines
// that end locked to one, which no test here has.
func dieWithTests(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
