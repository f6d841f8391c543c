//go:build !linux

package service

import "syscall"

// inheritsProbes: the runtime sets them on every connection.
const inheritsProbes = false

func inheritProbes(_, _ string, _ syscall.RawConn) error { return nil }
