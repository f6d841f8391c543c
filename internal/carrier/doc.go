// Package carrier puts many streams on one connection, as docs/PROTOCOL.md,
// section 6.5, describes it: for users who find no pooled connection idle. It
// passes on the frames of each stream as they are; what they mean is the
// business of package relay, to which a [Stream] is a connection like another.
package carrier
