//go:build race

package pool

// raceDetector makes everything some ten times slower.
const raceDetector = true
