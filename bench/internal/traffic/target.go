// Package traffic is what the bench sends through a tunnel: the target that
// answers, and the users that come. Both run in processes of their own, so that
// their work is not the tunnel's.
package traffic

import (
	"net"
)

// What a user wants is told by its first byte, which the target sends back.
// From then on:
const (
	wantEcho = 'e' // the target sends back what comes
	wantDown = 'd' // the target sends without end
	wantUp   = 'u' // the target reads to the end
)

// bulkBuffer is what user and target move in one call. It is large so that they
// take little of the processors that they share with the tunnel.
const bulkBuffer = 256 << 10

// Serve answers users until the listener closes.
func Serve(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go answer(c) // ends with the user's connection
	}
}

func answer(c net.Conn) {
	defer c.Close()
	want := make([]byte, 1)
	if _, err := c.Read(want); err != nil {
		return
	}
	if _, err := c.Write(want); err != nil {
		return
	}
	switch want[0] {
	case wantEcho:
		echo(c)
	case wantDown:
		send(c)
	case wantUp:
		receive(c)
	}
}

func echo(c net.Conn) {
	buf := make([]byte, 1024) // small: thousands of users may be open
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

func send(c net.Conn) {
	buf := make([]byte, bulkBuffer)
	for {
		if _, err := c.Write(buf); err != nil {
			return
		}
	}
}

func receive(c net.Conn) {
	buf := make([]byte, bulkBuffer)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}
