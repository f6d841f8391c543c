//go:build race

package library

// raceDetector tells that the tests run with the race detector, which finds in
// nodepass what is not ours to mend: its managers replace the context that its
// gets read, without a lock.
const raceDetector = true
