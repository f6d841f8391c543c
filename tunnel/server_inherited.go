package tunnel

import (
	"fmt"
	"net"
	"strconv"

	"github.com/tunnelpool/pool/internal/service"
	"syscall"
)

// inherited returns a listener of its own on a socket that the program was
// given for this address, nil if there is none. The socket itself stays open
// when the service ends, so that users wait in its queue until it is up again.
// It is one service's at a time, as a port is that the server opens: two on one
// socket would take each other's users.
func (s *Server) inherited(bind string, port uint16) (net.Listener, error) {
	l := s.handedOver(bind, port)
	if l == nil {
		return nil, nil
	}
	if _, taken := s.lent.LoadOrStore(l, true); taken {
		return nil, lentAlready(l)
	}
	own, err := listenerOn(l)
	if err != nil {
		s.lent.Delete(l)
		return nil, err
	}
	return &lentListener{own, func() { s.lent.Delete(l) }}, nil
}

// handedOver finds the socket that the program was given for an address, or nil.
func (s *Server) handedOver(bind string, port uint16) *net.TCPListener {
	for _, l := range s.cfg.Load().Inherited {
		if socket, ok := l.(*net.TCPListener); ok && leadsTo(socket.Addr().(*net.TCPAddr), bind, port) {
			return socket
		}
	}
	return nil
}

func lentAlready(l net.Listener) error {
	return fmt.Errorf("the socket on %v: %w", l.Addr(), syscall.EADDRINUSE)
}

// lentListener is a service's listener on an inherited socket.
type lentListener struct {
	net.Listener
	giveBack func()
}

// Close gives the socket back, the first time: a later one may close what
// another service has.
func (l *lentListener) Close() error {
	err := l.Listener.Close()
	if err == nil {
		l.giveBack()
	}
	return err
}

// listenerOn makes another listener on the same socket.
func listenerOn(socket *net.TCPListener) (net.Listener, error) {
	f, err := socket.File() // a copy
	if err != nil {
		return nil, err
	}
	defer f.Close() // FileListener makes another
	return net.FileListener(f)
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
	for _, l := range s.cfg.Load().Inherited {
		l.Close()
	}
}

// listenTCP opens a port, or takes the socket that the program was given for
// it.
func (s *Server) listenTCP(bind string, port uint16) (net.Listener, error) {
	if l, err := s.inherited(bind, port); l != nil || err != nil {
		return l, err
	}
	return service.Listen(net.JoinHostPort(bind, strconv.Itoa(int(port))))
}
