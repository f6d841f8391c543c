//go:build !linux

package datagram

import "net"

const localSize = 0

// local: the system chooses the address that an answer leaves from.
type local struct{}

func (*local) control() []byte { return nil }

func tellLocal(*net.UDPConn) {}

func localOf([]byte) local { return local{} }
