//go:build !unix

package relay

// pollBroken knows nothing where the platform has no poll. A side that is held
// up learns of a reset there when it is held up no more.
func pollBroken(uintptr) bool { return false }

func pollReadable(uintptr) bool { return true }
