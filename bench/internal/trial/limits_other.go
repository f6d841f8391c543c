//go:build !unix

package trial

// RaiseLimits has nothing to raise here.
func RaiseLimits() {}
