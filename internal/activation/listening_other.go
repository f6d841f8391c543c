//go:build !unix

package activation

import "os"

// listening cannot be asked here.
func listening(*os.File) bool { return true }
