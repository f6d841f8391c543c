package service

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// errBound ends a listen that has got as far as it was to.
var errBound = errors.New("bound")

// CanListen says what would keep a program from listening on address, a host:port
// of network "tcp" or "udp"; nil: nothing would. It binds the address for an
// instant and does not listen, so that nobody can connect.
func CanListen(network, address string) error {
	lc := net.ListenConfig{Control: func(network, address string, raw syscall.RawConn) error {
		var err error
		if control := raw.Control(func(fd uintptr) { err = bindOnly(fd, network, address) }); control != nil {
			return control
		}
		switch {
		case err == nil:
			return errBound
		case errors.Is(err, errors.ErrUnsupported):
			return nil // it is opened then, and closed at once
		}
		return os.NewSyscallError("bind", err)
	}}
	var l io.Closer
	var err error
	if network == "udp" {
		l, err = lc.ListenPacket(context.Background(), network, address)
	} else {
		l, err = lc.Listen(context.Background(), network, address)
	}
	switch {
	case errors.Is(err, errBound):
		return nil
	case err == nil:
		l.Close()
	}
	return err
}

// wsaAddrInUse is EADDRINUSE on Windows, whose package syscall has another
// number of its own; no other system knows this one.
const wsaAddrInUse = syscall.Errno(10048)

// AddrInUse reports whether an address could not be bound because a program has it.
func AddrInUse(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaAddrInUse)
}
