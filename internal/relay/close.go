package relay

import "net"

// How endpoints end: in order, half, or with a reset.

// closeWrite passes an end-of-file on, where the endpoint can.
func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}

type lingerer interface{ SetLinger(seconds int) error }

// crashResets lets the end of this process, should it be killed, be a reset for
// the endpoint's peer: to whom the system closes a connection in order, what is
// cut off looks whole. [closeInOrder] takes it back.
func crashResets(c net.Conn) {
	if t, ok := c.(lingerer); ok {
		t.SetLinger(0)
	}
}

// closeInOrder closes an endpoint to which everything was delivered.
func closeInOrder(c net.Conn) {
	if t, ok := c.(lingerer); ok {
		t.SetLinger(-1)
	}
	c.Close()
}

// resetClose closes an endpoint so that its peer sees a reset. A Unix socket has
// none: its peer reads an end, and fails when it writes.
func resetClose(c net.Conn) {
	if t, ok := c.(lingerer); ok {
		t.SetLinger(0)
	}
	c.Close()
}

// Reset closes an endpoint that gets no stream, so that its peer sees a reset.
func Reset(c net.Conn) { resetClose(c) }
