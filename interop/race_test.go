//go:build race

package interop

// raceDetector tells that the tests run with the race detector. v1.0.50 does not
// pass it: its managers replace the context that its gets read, and Flush, which
// Close calls, replaces map and channel, all without a lock.
const raceDetector = true
