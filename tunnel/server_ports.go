package tunnel

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/tunnelpool/pool/internal/wire"
)

// isOwnPort tells the tunnel's own port, which is never a service's.
func (s *Server) isOwnPort(network byte, port uint16) bool {
	own, ok := s.listener.Addr().(*net.TCPAddr)
	return ok && network == wire.NetworkTCP && own.Port == int(port)
}

func (s *Server) portAllowed(h *holder, network byte, port uint16) bool {
	return !s.isOwnPort(network, port) && s.cfg.Load().ports.Allows(port) && h.grant.Load().MayPublish(port)
}

// portDenied says what keeps the client from a port by the server's configuration,
// nothing if it may have it.
func (c *serverSession) portDenied(port uint16) (reason string) {
	for {
		now := c.server.cfg.Load()
		if port == 0 || now.ports.Allows(port) {
			return ""
		}
		c.curbed.Store(true)
		if c.server.cfg.Load() == now { // else nobody may have seen that
			return fmt.Sprintf("port %d is not among those of the server's --allow-ports (%s)", port, now.AllowPorts)
		}
	}
}

// bindFor decides the address of a public port.
func (s *Server) bindFor(asked string) (string, wire.DenyCode, string) {
	if asked == "" {
		return s.cfg.Load().Bind, wire.OK, ""
	}
	ip := net.ParseIP(asked)
	switch {
	case ip == nil:
		return "", wire.BindNotAllowed, fmt.Sprintf("%q is not an IP address of the server", asked)
	case s.cfg.Load().Bind != "" && !ip.Equal(net.ParseIP(s.cfg.Load().Bind)):
		return "", wire.BindNotAllowed, fmt.Sprintf("the server binds public ports to %s only", s.cfg.Load().Bind)
	}
	return asked, wire.OK, ""
}

// freePortTries is how often a port of the system's choice is asked for when
// the server may choose and the system offers one that is not allowed.
const freePortTries = 64

// opener opens a port of one network.
type opener func(bind string, port uint16) (net.Listener, error)

// listenPublic binds a public port. For port 0 the system chooses, and what it
// chooses must be allowed too.
func (s *Server) listenPublic(h *holder, network byte, open opener, bind string, port uint16) (net.Listener, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	for range freePortTries {
		l, err := open(bind, port)
		if err != nil {
			return nil, err
		}
		if port != 0 {
			return l, nil
		}
		if s.portAllowed(h, network, portOfAddr(l.Addr())) {
			return l, nil
		}
		l.Close()
	}
	return s.listenLowest(h, network, open, bind)
}

var errNoFreePort = errors.New("no allowed port is free")

// listenLowest finds the lowest free port among those allowed.
func (s *Server) listenLowest(h *holder, network byte, open opener, bind string) (net.Listener, error) {
	for port := uint16(1); port != 0; port++ {
		if !s.portAllowed(h, network, port) {
			continue
		}
		if l, err := open(bind, port); err == nil {
			return l, nil
		}
	}
	return nil, errNoFreePort
}

// listenReason turns a failed listen into what the person at the client can
// act on.
func (s *Server) listenReason(port uint16, err error) (wire.DenyCode, string) {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return wire.PortTaken, fmt.Sprintf("port %d is in use by another program on the server", port)
	case errors.Is(err, syscall.EACCES):
		return wire.PortNotAllowed, fmt.Sprintf("the server's system does not let it use port %d (privileged ports need CAP_NET_BIND_SERVICE)", port)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return wire.BindNotAllowed, "the server has no such address"
	case errors.Is(err, errNoFreePort):
		return wire.TooMany, errNoFreePort.Error()
	}
	return wire.Internal, "the server cannot listen: " + err.Error()
}

// portOfAddr is the port of a socket's address, 0 if it has none.
func portOfAddr(addr net.Addr) uint16 {
	switch at := addr.(type) {
	case *net.TCPAddr:
		return uint16(at.Port)
	case *net.UDPAddr:
		return uint16(at.Port)
	}
	return 0
}
