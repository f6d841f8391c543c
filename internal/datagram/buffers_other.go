//go:build !linux

package datagram

import "net"

// enlarge gives a socket large buffers, if the system allows them.
func enlarge(socket *net.UDPConn, size int) {
	_ = socket.SetReadBuffer(size)
	_ = socket.SetWriteBuffer(size)
}
