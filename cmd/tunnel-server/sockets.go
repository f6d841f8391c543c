package main

import (
	"fmt"
	"net"
	"strings"

	"github.com/tunnelpool/pool/internal/activation"
	"github.com/tunnelpool/pool/internal/cli"
	"github.com/tunnelpool/pool/tunnel"
)

// tunnelSocket is what the socket unit calls the socket of the tunnel's port,
// when there are others.
const tunnelSocket = "tunnel"

// listen sets the tunnel's listener: a socket that was handed over, or one on
// --listen. What else was handed over is for the public ports.
func listen(cfg *tunnel.ServerConfig) error {
	if err := inherit(cfg); err != nil || cfg.Listener != nil {
		return err
	}
	var err error
	cfg.Listener, err = net.Listen("tcp", cfg.Listen)
	if err != nil {
		return cli.ListenError("--listen", listenForm, err)
	}
	return nil
}

// inherit sets the sockets that were handed over, if any were.
func inherit(cfg *tunnel.ServerConfig) error {
	sockets, err := activation.Sockets()
	if err != nil || len(sockets) == 0 {
		return err
	}
	own := pickSocket(sockets, cfg.Listen)
	if own < 0 {
		var at []string
		for _, s := range sockets {
			at = append(at, s.Addr().String())
			s.Close()
		}
		return fmt.Errorf("none of the sockets handed over (%s) is on --listen %s: call the tunnel's own FileDescriptorName=%s in its socket unit",
			strings.Join(at, ", "), cfg.Listen, tunnelSocket)
	}
	for i, s := range sockets {
		if i == own {
			cfg.Listener = s.Listener
		} else {
			cfg.Inherited = append(cfg.Inherited, s.Listener)
		}
	}
	return nil
}

// pickSocket finds the tunnel's own socket: by name, by port, or because there
// is no other. -1: none is it.
func pickSocket(sockets []activation.Socket, listen string) int {
	for i, s := range sockets {
		if s.Name == tunnelSocket {
			return i
		}
	}
	if at, err := net.ResolveTCPAddr("tcp", listen); err == nil {
		for i, s := range sockets {
			if own, ok := s.Addr().(*net.TCPAddr); ok && own.Port == at.Port {
				return i
			}
		}
	}
	if len(sockets) == 1 {
		return 0
	}
	return -1
}
