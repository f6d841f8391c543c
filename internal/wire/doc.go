// Package wire is the tunnel's protocol as bytes: the hello of a connection,
// the messages of the control channel and the frames of a stream on a pooled
// connection. docs/PROTOCOL.md specifies all of it, and the tests pin every
// constant and every layout to that document.
//
// The package turns values into bytes and bytes into values. It holds no
// state, opens no socket, starts no goroutine and knows no rule about who may
// send what when: those belong to the session and to the relay. It also leaves
// the payload of DATA frames to the relay, which copies it without a detour.
//
// Decoders are strict, because their input comes from strangers. Lengths are
// checked before anything is allocated, unknown types and codes and trailing
// bytes are refused, and what is accepted encodes to the same bytes again. What
// they refuse is [ErrMalformed], wrapped with what was wrong; such an error
// never holds the peer's bytes. Encoders never fail: strings that would not fit
// are made to fit, and numbers are the caller's to keep in the range that the
// field's comment states, since a peer refuses others.
//
// All functions are safe for concurrent use.
package wire
