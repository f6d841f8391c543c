package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/handoff"
	"github.com/tunnelpool/pool/internal/service"
	"github.com/tunnelpool/pool/internal/session"
	"github.com/tunnelpool/pool/internal/wire"
)

const (
	// maxServices bounds the services of one client.
	maxServices = 256

	// A client asks for each service once, and every registerRetry for those
	// that were denied. Twice that is allowed; each costs a line in the log.
	registerBurst = 2 * maxServices
	registerRate  = rate.Limit(2*maxServices) / rate.Limit(registerRetry/time.Second)
)

// serverSession is one client, from its welcome to its loss.
type serverSession struct {
	server  *Server
	link    *session.Link
	pool    *pool.Pool
	id      [wire.SessionSize]byte
	key     pool.Key // the one the client joined with
	poolKey pool.Key // what its pooled connections prove
	secret  wire.Secret
	who     wire.Join
	remote  net.Addr

	waiting   atomic.Int64    // users that wait for a connection
	waits     context.Context // ends when waiting is in vain: no stream will be opened
	endWaits  context.CancelFunc
	asking    demand // what the client was told of them
	registers *rate.Limiter
	goodbye   sync.Once // a side says GoAway at most once
	leaving   bool      // the client said GoAway; handle's own

	mu         sync.Mutex // guards what follows
	services   map[uint16]*published
	stopped    bool // no new services, no new users
	lastStream uint32
	asked      map[uint32]chan<- handoff.Answer // cancels without an answer yet
}

// published is a service that is up.
type published struct {
	ref    uint16
	name   string
	public *service.Public
}

// name is the client's, quoted: a peer chose it.
func (c *serverSession) name() string { return strconv.Quote(c.who.Name) }

// run is the session's life.
func (c *serverSession) run() {
	s := c.server
	defer s.tasks.Done()
	var background sync.WaitGroup
	background.Go(func() { c.pool.Run(context.Background()) }) // ends with the pool's Close
	s.log.Info("%s at %s joined (key %v)", c.name(), c.remote, c.key.ID())
	err := c.link.Run(context.Background(), c.handle)
	c.stopAccepting() // before the numbers are noted: nothing is opened after
	s.leave(c)
	s.log.Info("%s at %s left: %v", c.name(), c.remote, err)
	c.pool.Drain(s.streams) // streams in progress finish, and their connections close
	c.pool.Close()
	background.Wait()
}

// handle takes the client's messages, one at a time.
func (c *serverSession) handle(m wire.Message) error {
	switch m := m.(type) {
	case wire.Register:
		if !c.registers.Allow() {
			return errRegisters
		}
		answer := c.register(m)
		c.link.Send(answer)
		if answer.Code == wire.OK {
			c.server.announce()
		}
	case wire.Canceled:
		return c.canceled(m)
	case wire.GoAway:
		if c.leaving {
			return errGoAwayTwice
		}
		c.leaving = true
		c.server.log.Info("%s is stopping: %q", c.name(), m.Text)
		c.stopAccepting()
	default:
		return fmt.Errorf("%v is not a client's to send", m.Type())
	}
	return nil
}

var errRegisters = errors.New("the client registers services too often")

// sayGoodbye tells the client why the session is about to end, unless it has
// been told.
func (c *serverSession) sayGoodbye(m wire.GoAway) {
	c.goodbye.Do(func() { c.link.Send(m) })
}

// stopAccepting closes the public ports. Users that are being served stay;
// those that wait for a connection are turned away, since none comes any more.
func (c *serverSession) stopAccepting() {
	c.endWaits()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	for ref, p := range c.services {
		p.public.Close()
		delete(c.services, ref)
	}
}

// register brings a service up, or says why not.
func (c *serverSession) register(r wire.Register) wire.Registered {
	p, code, reason := c.publish(r)
	if code != wire.OK {
		c.server.log.Warn("%s: service %q on port %d denied: %s", c.name(), r.Name, r.Port, reason)
		return wire.Registered{Ref: r.Ref, Code: code, Text: reason}
	}
	addr := p.public.Addr().String()
	c.server.log.Info("%s: service %q is up on %s", c.name(), r.Name, addr)
	return wire.Registered{Ref: r.Ref, Addr: addr}
}

func (c *serverSession) publish(r wire.Register) (*published, wire.DenyCode, string) {
	s := c.server
	if r.Network != wire.NetworkTCP {
		return nil, wire.Unsupported, "this server publishes TCP services only"
	}
	if s.isOwnPort(r.Port) {
		return nil, wire.PortNotAllowed, fmt.Sprintf("port %d is the tunnel's own", r.Port)
	}
	if r.Port != 0 && !s.ports.Allows(r.Port) {
		return nil, wire.PortNotAllowed, fmt.Sprintf("port %d is not among those of the server's --allow-ports (%s)", r.Port, s.cfg.AllowPorts)
	}
	bind, code, reason := s.bindFor(r.Bind)
	if code != wire.OK {
		return nil, code, reason
	}
	if code, reason := c.roomFor(r.Ref); code != wire.OK {
		return nil, code, reason
	}
	l, err := s.listenPublic(bind, r.Port)
	if err != nil {
		code, reason := s.listenReason(c, r.Port, err)
		return nil, code, reason
	}
	p := &published{ref: r.Ref, name: r.Name}
	p.public = service.NewPublic(l, func(err error) {
		s.log.Warn("%s: service %q cannot accept users: %v; trying again", c.name(), p.name, err)
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		p.public.Close()
		return nil, wire.Shutdown, "the session is ending"
	}
	c.services[r.Ref] = p
	s.tasks.Go(func() { // ends when the port closes and its users are gone
		p.public.Serve(s.streams, func(user net.Conn) { c.serveUser(p, user) })
	})
	return p, wire.OK, ""
}

// roomFor checks that a service may be added under ref. Registrations are
// handled one at a time, so what it finds stays true but for an end.
func (c *serverSession) roomFor(ref uint16) (wire.DenyCode, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.stopped:
		return wire.Shutdown, "the session is ending"
	case c.services[ref] != nil:
		return wire.BadRequest, "the service is up already"
	case len(c.services) >= maxServices:
		return wire.TooMany, fmt.Sprintf("a client may have %d services", maxServices)
	}
	return wire.OK, ""
}

// isOwnPort tells the tunnel's own port, which is never a service's.
func (s *Server) isOwnPort(port uint16) bool {
	own, ok := s.listener.Addr().(*net.TCPAddr)
	return ok && own.Port == int(port)
}

func (s *Server) portAllowed(port uint16) bool {
	return !s.isOwnPort(port) && s.ports.Allows(port)
}

// bindFor decides the address of a public port.
func (s *Server) bindFor(asked string) (string, wire.DenyCode, string) {
	if asked == "" {
		return s.cfg.Bind, wire.OK, ""
	}
	ip := net.ParseIP(asked)
	switch {
	case ip == nil:
		return "", wire.BindNotAllowed, fmt.Sprintf("%q is not an IP address of the server", asked)
	case s.cfg.Bind != "" && !ip.Equal(net.ParseIP(s.cfg.Bind)):
		return "", wire.BindNotAllowed, fmt.Sprintf("the server binds public ports to %s only", s.cfg.Bind)
	}
	return asked, wire.OK, ""
}

// freePortTries is how often a port of the system's choice is asked for when
// the server may choose and the system offers one that is not allowed.
const freePortTries = 64

// listenPublic binds a public port. For port 0 the system chooses, and what it
// chooses must be allowed too.
func (s *Server) listenPublic(bind string, port uint16) (net.Listener, error) {
	for range freePortTries {
		l, err := net.Listen("tcp", net.JoinHostPort(bind, strconv.Itoa(int(port))))
		if err != nil {
			return nil, err
		}
		if port != 0 {
			return l, nil
		}
		if got := l.Addr().(*net.TCPAddr).Port; s.portAllowed(uint16(got)) {
			return l, nil
		}
		l.Close()
	}
	return s.listenLowest(bind)
}

var errNoFreePort = errors.New("no allowed port is free")

// listenLowest finds the lowest free port among those allowed.
func (s *Server) listenLowest(bind string) (net.Listener, error) {
	for port := uint16(1); port != 0; port++ {
		if !s.portAllowed(port) {
			continue
		}
		if l, err := net.Listen("tcp", net.JoinHostPort(bind, strconv.Itoa(int(port)))); err == nil {
			return l, nil
		}
	}
	return nil, errNoFreePort
}

// listenReason turns a failed listen into what the person at the client can
// act on.
func (s *Server) listenReason(c *serverSession, port uint16, err error) (wire.DenyCode, string) {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		if c.hasPort(port) {
			return wire.PortHeld, fmt.Sprintf("port %d is another service of the same client", port)
		}
		if holder := s.holderBut(c, port); holder != "" {
			return wire.PortHeld, fmt.Sprintf("port %d is held by client %s", port, holder)
		}
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

func (c *serverSession) hasPort(port uint16) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.services {
		if addr, ok := p.public.Addr().(*net.TCPAddr); ok && addr.Port == int(port) {
			return true
		}
	}
	return false
}

// status lists the services that are up.
func (c *serverSession) status() []ServiceStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]ServiceStatus, 0, len(c.services))
	for _, p := range c.services {
		all = append(all, ServiceStatus{Client: c.who.Name, Name: p.name, Addr: p.public.Addr().String(), Up: true})
	}
	return all
}
