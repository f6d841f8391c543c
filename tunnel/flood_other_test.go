//go:build !linux

package tunnel

import "syscall"

func bindLate(string, string, syscall.RawConn) error { return nil }
