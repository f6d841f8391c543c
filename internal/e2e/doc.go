// Package e2e has no code of its own: its tests build both programs and use
// them as a newcomer does, over loopback.
package e2e
