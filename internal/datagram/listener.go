package datagram

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/tunnelpool/pool/internal/wire"
)

const (
	// Flows that have begun and were not accepted yet.
	maxBacklog = 128

	// As long as there are as many flows as may be, those end that are silent for
	// silentFull; it is looked for them every relieveEvery at most.
	silentFull   = 5 * time.Second
	relieveEvery = 500 * time.Millisecond

	// One address begins no more than a flow in flowSpacing when its flows are
	// broken off: each costs a hand-off.
	flowSpacing = time.Second

	// receivePause follows a failure to receive, which the next datagram may not
	// meet.
	receivePause = 10 * time.Millisecond

	// socketBuffer is what is asked of the system for a socket, each way: a fifth of
	// a second of 10,000 datagrams of 1,400 bytes each. It is in use only as long as
	// this program does not get to run.
	socketBuffer = 4 << 20
)

// Listener makes flows of the datagrams that come to a UDP port, one for each
// address that they come from. It is a net.Listener for those.
type Listener struct {
	cfg     Config
	socket  *net.UDPConn
	backlog chan *Conn
	done    chan struct{} // closed by Close

	mu       sync.Mutex // guards what follows
	maxFlows int
	flows    map[caller]*flow
	relieved time.Time // when it was last looked for silent ones
	closing  bool
}

// caller is whose datagrams are a flow's: a user's address, and the one of ours
// that it knows.
type caller struct {
	user  netip.AddrPort
	asked local
}

// address is the user's.
func (c caller) address() *net.UDPAddr {
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.user.Addr().Unmap(), c.user.Port()))
}

// flow is a listener's Conn with what is outside it. In the table it may be one
// that was broken off, so that none takes its place at once.
type flow struct {
	*Conn
	caller
	listener *Listener
}

// Listen opens a UDP port at address, which is host:port. There are maxFlows
// flows at a time at most; what comes from others is dropped.
func Listen(address string, maxFlows int, cfg Config) (*Listener, error) {
	at, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	socket, err := net.ListenUDP("udp", at)
	if err != nil {
		return nil, err
	}
	enlarge(socket)
	tellLocal(socket)
	l := newListener(socket, maxFlows, cfg)
	go l.receive() // ends with Close
	return l, nil
}

func newListener(socket *net.UDPConn, maxFlows int, cfg Config) *Listener {
	return &Listener{
		cfg: cfg, maxFlows: maxFlows, socket: socket,
		backlog: make(chan *Conn, maxBacklog), done: make(chan struct{}),
		flows: make(map[caller]*flow),
	}
}

// SetMaxFlows changes how many flows there are at a time at most, for those that
// begin from then on.
func (l *Listener) SetMaxFlows(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.maxFlows = n
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.socket.LocalAddr() }

// Accept returns the next flow that begins, with its first datagram in it.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close closes the port, and with it ends all flows: UDP has no connection that
// could outlive it. Flows that were not accepted are closed.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		return net.ErrClosed
	}
	l.closing = true
	flows := l.flows
	l.flows = nil
	l.mu.Unlock()
	err := l.socket.Close()
	close(l.done)
	for _, f := range flows {
		f.CloseWrite()
	}
	for {
		select {
		case c := <-l.backlog:
			c.Close()
		default:
			return err
		}
	}
}

// receive brings what comes to the port to its flow.
func (l *Listener) receive() {
	buf := make([]byte, wire.MaxDatagram)
	var control [localSize]byte
	for {
		n, m, _, user, err := l.socket.ReadMsgUDPAddrPort(buf, control[:])
		switch {
		case err == nil:
			l.deliver(caller{user, localOf(control[:m])}, buf[:n])
		case errors.Is(err, net.ErrClosed):
			return
		default:
			time.Sleep(receivePause)
		}
	}
}

// deliver takes a datagram to the flow that it belongs to, or begins one.
func (l *Listener) deliver(from caller, datagram []byte) {
	l.mu.Lock()
	f := l.flows[from]
	l.mu.Unlock()
	if f == nil {
		if !l.welcome(from) {
			return
		}
		if f = l.begin(from); f == nil {
			l.cfg.Dropped(ErrTooMany)
			return
		}
		f.Conn.receive(datagram)
		l.offer(f)
		return
	}
	f.Conn.receive(datagram)
}

func (l *Listener) welcome(from caller) bool {
	return l.cfg.Welcome == nil || l.cfg.Welcome(from.address(), l.Addr())
}

// begin makes a flow, or returns nil if there is no room for one.
func (l *Listener) begin(from caller) *flow {
	l.relieve()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing || len(l.flows) >= l.maxFlows {
		return nil
	}
	f := &flow{caller: from, listener: l}
	f.Conn = newConn(f, l.socket.LocalAddr(), from.address(), l.cfg)
	l.flows[from] = f
	return f
}

// offer lets f be accepted, if there is room among those that wait for it.
func (l *Listener) offer(f *flow) {
	select {
	case l.backlog <- f.Conn:
	default:
		l.cfg.Dropped(ErrTooMany)
		f.Conn.CloseWrite()
		f.Conn.Close()
		return
	}
	select {
	case <-l.done: // it may have come too late for Close
		f.Conn.CloseWrite()
	default:
	}
}

// relieve ends silent flows if there are as many as may be.
func (l *Listener) relieve() {
	now := time.Now()
	l.mu.Lock()
	if len(l.flows) < l.maxFlows || now.Sub(l.relieved) < relieveEvery {
		l.mu.Unlock()
		return
	}
	l.relieved = now
	var silent []*flow
	for _, f := range l.flows {
		if f.silence() >= silentFull {
			silent = append(silent, f)
		}
	}
	l.mu.Unlock()
	for _, f := range silent {
		f.CloseWrite()
	}
}

// send implements outside.
func (f *flow) send(datagram []byte) error {
	_, _, err := f.listener.socket.WriteMsgUDPAddrPort(datagram, f.asked.control(), f.user)
	return err
}

// left implements outside: what the user sends from now on begins another flow.
func (f *flow) left(brokenOff bool) {
	if rest := flowSpacing - time.Since(f.begun); brokenOff && rest > 0 {
		time.AfterFunc(rest, f.forget)
		return
	}
	f.forget()
}

func (f *flow) forget() {
	l := f.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.flows[f.caller] == f {
		delete(l.flows, f.caller)
	}
}

// closed implements outside.
func (f *flow) closed() {}
