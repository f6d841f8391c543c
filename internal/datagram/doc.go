// Package datagram holds the two outer ends of a UDP service. What one user
// address and the service exchange is a flow, and to package relay each end of it
// is a [Conn]: a connection whose bytes are datagrams with their lengths in front,
// as docs/PROTOCOL.md has them in section "Datagrams". On the server a [Listener]
// makes flows of what comes to a public port, on the client [Dial] reaches the
// target.
//
// Nobody is waited for: what is not taken as fast as it comes is dropped, the
// oldest first, and told of.
package datagram
