// Package relay carries one stream over one pooled connection: [Serve] on the
// tunnel server, between a user and the connection, [Attend] on the tunnel
// client, between the connection and the target. The rules are those of
// docs/PROTOCOL.md, section "Streams".
//
// # Who does what
//
// A stream has two goroutines on each side. The writer reads the endpoint (the
// user or the target) and writes DATA, then one FIN or RESET. The reader reads
// frames and writes the endpoint. They meet in type stream, whose mutex orders
// the ends of both directions; nothing else is shared. An endpoint or a
// connection that dies ends both, because each closes what the other waits on.
//
// A stream ends with DONE, and then the connection can carry the next one.
// Serve and Attend report whether it can; the caller puts it back or closes
// it. The endpoint is closed either way.
package relay
