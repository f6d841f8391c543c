//go:build !linux

package pool

import "syscall"

// watch is what only Linux has: elsewhere every idle connection is looked at.
type watch struct{}

func newWatch() *watch                      { return nil }
func (*watch) close()                       {}
func (*watch) add(syscall.RawConn, ID) bool { return false }
func (*watch) fired(func(ID))               {}
