package datagram

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/tunnelpool/pool/internal/wire"
)

// dialTimeout bounds the lookup of a target's name.
const dialTimeout = 10 * time.Second

// target is the outside of a flow on the client: a socket of its own, connected to
// the target.
type target struct{ *net.UDPConn }

// Dial makes a flow to the target at address, which is host:port. Nothing is sent
// to it yet, so that it may be down: its refusals are told as dropped datagrams.
// Of a name with several addresses an IPv4 one is taken, since nothing would show
// that the target does not listen on the other.
func Dial(ctx context.Context, address string, cfg Config) (*Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(ctx, "udp4", address)
	var notFour *net.AddrError
	var unknown *net.DNSError
	if errors.As(err, &notFour) || errors.As(err, &unknown) && unknown.IsNotFound {
		conn, err = d.DialContext(ctx, "udp6", address)
	}
	if err != nil {
		return nil, err
	}
	t := target{conn.(*net.UDPConn)}
	enlarge(t.UDPConn)
	c := newConn(t, conn.LocalAddr(), conn.RemoteAddr(), cfg)
	go t.receive(c) // ends with Close
	return c, nil
}

// send implements outside. The system may report with it that an earlier datagram
// was refused, and does not send then.
func (t target) send(datagram []byte) error {
	_, err := t.Write(datagram)
	if errors.Is(err, syscall.ECONNREFUSED) {
		_, err = t.Write(datagram)
	}
	return err
}

// left implements outside.
func (t target) left(bool) {}

// closed implements outside.
func (t target) closed() { t.Close() }

// receive takes in what the target says. Between two datagrams it holds no
// buffer, where the system lets it wait without one.
func (t target) receive(c *Conn) {
	for {
		err := t.receiveSome(c.receive)
		switch {
		case err == nil:
		case errors.Is(err, net.ErrClosed):
			return
		default:
			c.dropped(err)
			time.Sleep(receivePause)
		}
	}
}

// Buffers that a datagram is received in.
var buffers = sync.Pool{New: func() any { return new([wire.MaxDatagram]byte) }}
