//go:build !unix

package trial

// RaiseLimits has nothing to raise here.
func RaiseLimits() {}

// openFiles is what is taken for granted.
func openFiles() int { return 50_000 }
