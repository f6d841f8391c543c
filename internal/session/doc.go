// Package session is a control connection's life, the same on both ends: one
// writer with a bounded queue, heartbeats in both directions, the path's round
// trip, and an end that says why. What the messages mean is the caller's
// business; see docs/PROTOCOL.md, section "Control channel".
package session
