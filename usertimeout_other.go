//go:build !linux

package pool

func writeUserTimeout(uintptr, int) {}

func readUserTimeout(uintptr) (millis int) { return 0 }
