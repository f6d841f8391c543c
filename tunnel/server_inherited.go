package tunnel

import (
	"net"
	"strconv"
)

// inherited returns a listener of its own on a socket that the program was
// given for this address, nil if there is none. The socket itself stays open
// when the service ends, so that users wait in its queue until it is up again.
func (s *Server) inherited(bind string, port uint16) (net.Listener, error) {
	for _, l := range s.cfg.Inherited {
		socket, ok := l.(*net.TCPListener)
		if !ok || !leadsTo(socket.Addr().(*net.TCPAddr), bind, port) {
			continue
		}
		f, err := socket.File() // a copy
		if err != nil {
			return nil, err
		}
		defer f.Close() // FileListener makes another
		return net.FileListener(f)
	}
	return nil, nil
}

// leadsTo reports whether a socket is what net.Listen would make for bind and
// port. One for all addresses of IPv4 or IPv6 serves who asks for all.
func leadsTo(at *net.TCPAddr, bind string, port uint16) bool {
	if port == 0 || at.Port != int(port) {
		return false
	}
	ip := net.ParseIP(bind)
	return everywhere(ip) && everywhere(at.IP) || ip.Equal(at.IP)
}

// closeInherited closes the sockets that the program was given.
func (s *Server) closeInherited() {
	for _, l := range s.cfg.Inherited {
		l.Close()
	}
}

// listenTCP opens a port, or takes the socket that the program was given for
// it.
func (s *Server) listenTCP(bind string, port uint16) (net.Listener, error) {
	if l, err := s.inherited(bind, port); l != nil || err != nil {
		return l, err
	}
	return net.Listen("tcp", net.JoinHostPort(bind, strconv.Itoa(int(port))))
}
