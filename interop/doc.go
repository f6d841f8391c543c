// Package interop tests the pool pair against github.com/NodePassProject/pool
// v1.0.50, one end of each, and holds what docs/MIGRATION.md says of both:
//
//	go test ./...
//
// It is a module of its own, so that what is tested against never enters the
// project's own go.mod. It wants no race detector: what the other library races
// with itself is not ours to mend.
package interop
