// Package handoff decides, on both ends, whose a user is: the pure rules of the
// verified hand-off in docs/PROTOCOL.md. The server's [Offer] follows one user
// from START to ACK, the client's [Ledger] remembers what became of each
// number. Neither does I/O, reads a clock or holds a lock; relay and tunnel
// drive them.
//
// Together they hold, whatever is lost, late or dead: a target is dialed at
// most once for the same bytes, no byte reaches a target twice, and none is
// lost without a reset on both sides.
package handoff
