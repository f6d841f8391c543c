//go:build !linux

package datagram

import "net"

// enlarge gives a socket large buffers, if the system allows them.
func enlarge(socket *net.UDPConn) {
	_ = socket.SetReadBuffer(socketBuffer)
	_ = socket.SetWriteBuffer(socketBuffer)
}
