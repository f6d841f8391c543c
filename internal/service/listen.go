package service

import (
	"context"
	"net"
	"time"
)

// Probes of users' and targets' connections that are quiet: the first after
// probeIdle, then every probeInterval; probeCount without an answer end it.
const (
	probeIdle     = 15 * time.Second
	probeInterval = 15 * time.Second
	probeCount    = 9
)

// Listen opens a public port on address, which is host:port. Users that vanish
// without a word are found by keep-alive probes.
func Listen(address string) (net.Listener, error) {
	lc := net.ListenConfig{Control: inheritProbes}
	if inheritsProbes {
		lc.KeepAlive = -1 // set once, on the listening socket, instead of for every user
	}
	return lc.Listen(context.Background(), "tcp", address)
}
