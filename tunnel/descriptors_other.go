//go:build !unix

package tunnel

// descriptorLimit is taken for granted where the system has no such limit for
// a process.
func descriptorLimit() int { return assumedDescriptors }
