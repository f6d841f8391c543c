package main

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/tunnelpool/pool/internal/cli"
)

// flagOf names the flag that sets a field of the configuration.
var flagOf = map[string]string{
	"Bind": "--bind", "AllowPorts": "--allow-ports", "AllowForward": "--allow-forward", "PoolMax": "--pool-max",
	"Heartbeat": "--heartbeat", "Wait": "--wait", "Keys": "--key-file", "MaxSessions": "--max-sessions", "MaxStreams": "--max-streams", "MaxStreamsPerService": "--max-streams-per-service",
}

// wsaAddrInUse is EADDRINUSE on Windows, whose package syscall has another
// number of its own; no other system knows this one.
const wsaAddrInUse = syscall.Errno(10048)

// listenError is what kept the server from binding its port: one that is taken
// is a failure, an address that cannot be is a mistake.
func listenError(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, wsaAddrInUse):
		return fmt.Errorf("%w (another program has the port, perhaps a tunnel-server: stop it, or choose another with --listen)", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w (ports below 1024 need root or CAP_NET_BIND_SERVICE)", err)
	}
	return cli.Usagef("--listen: %w; it takes [ADDRESS]:PORT, as in :10101", err)
}
