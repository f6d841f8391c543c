// Package library holds benchmarks of the pool pair as a library, beside
// github.com/NodePassProject/pool v1.0.50. Both go by the same names, so the
// same lines drive both.
//
//	go test -bench . ./library
package library
