package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// ServerConfig configures [NewServer]. Zero fields mean the stated defaults.
type ServerConfig struct {
	// Listener brings the connections; once NewServer succeeded it is the
	// pool's to close. Nil: they come only through Admit, and all fields below
	// down to FailureBurst are unused.
	Listener net.Listener

	// TLS is the mode, default TLSSelfSigned. TLSConfig is cloned and its
	// minimum raised to TLS 1.3; without a certificate TLSSelfSigned makes one,
	// and TLSVerified is an error.
	TLS       TLSMode
	TLSConfig *tls.Config

	// Keys finds the key that a client names, see KnownKeys. Nil: no proof is
	// asked, and the first bytes on the wire are the ID.
	Keys KeyFunc

	// ClientIP is the one address that may connect. Empty: any.
	ClientIP string

	// KeepAlive is the longest idle time before TCP keep-alive probes, default 30 s;
	// negative: none. See [TuneTCP] for what else depends on it.
	KeepAlive time.Duration

	// FailureRate and FailureBurst bound the failed attempts of one source, a
	// second and at once, as in [AcceptConfig]. Zero means 200 a second, 1,000
	// without TLS, and 512 at once; a negative FailureRate no limit. One that is
	// no number, and a negative FailureBurst, are errors.
	FailureRate  float64
	FailureBurst int

	// HandshakeTimeout is the one deadline for TLS, proof and ID, default 10 s,
	// as for a negative value.
	HandshakeTimeout time.Duration

	// OnWait, when set, is told whenever a Get has to wait, with how many wait
	// then: the moment to ask the client for more. It must not block, and may
	// be called from several goroutines at once.
	OnWait func(waiting int)

	// AwaitRunning leaves the user timeout (TCP_USER_TIMEOUT, Linux) of a
	// connection that is handed out as it was while idle, until its holder calls
	// [Conn.MarkRunning]. It is for holders that first see whether the peer is
	// there. Otherwise it is lifted at the hand-out.
	AwaitRunning bool

	// Reverse says that the client hands the connections out, with Get, and this
	// side takes each by the ID that the client names, with Take. The other side's
	// ClientConfig must say so too.
	Reverse bool

	// Check looks at idle connections every CheckEvery (default 30 s), and has those
	// closed for which it returns an error: a peer that may not be here any more, for
	// one. It sees a connection's ID, addresses, age, uses, value and socket, and can
	// neither read, write nor close it ([ErrLookOnly]). It is called from one
	// goroutine and must not block. With Reverse it is the client's.
	Check      func(*Conn) error
	CheckEvery time.Duration

	// ShortIDs sends each connection's ID as 4 bytes, as NodePass's pool v1.0.50
	// does; as text it is their 8 lower-case hexadecimal characters. The other
	// side's ClientConfig must say so too: a client that does not is told so by
	// its failing dials, and no connection is paired. TLS, Keys and Reverse work
	// as without. An ID may come again once 1,024 other connections are gone: keep
	// none for long.
	ShortIDs bool

	// OnConn is as in [LocalConfig]. What the front door turns away, before it had
	// proven its key, is in Stats.Rejected only.
	OnConn func(ConnEvent)

	Limits
	Logger Logger // default: silent
}

const defaultPairTimeout = 3 * time.Second

// acceptSide is what only the server role has. Its fields never change.
type acceptSide struct {
	listener         net.Listener
	door             *Acceptor // nil without a listener
	handshakeTimeout time.Duration
}

// NewServer makes a server pool. It hands out from the start; [Pool.Run]
// accepts and keeps watch. It does not close cfg.Listener on error.
func NewServer(cfg ServerConfig) (*Pool, error) {
	if err := cfg.Limits.fillServer(!cfg.Reverse); err != nil {
		return nil, fmt.Errorf("pool: ServerConfig.%w", err)
	}
	look, err := newLook(cfg.Check, cfg.CheckEvery, !cfg.Reverse)
	if err != nil {
		return nil, fmt.Errorf("pool: ServerConfig.%w", err)
	}
	if cfg.HandshakeTimeout <= 0 {
		cfg.HandshakeTimeout = defaultHandshakeTimeout
	}
	p := newPool(cfg.Logger, cfg.Limits)
	p.handsOut = !cfg.Reverse
	p.ids = formOfIDs(cfg.ShortIDs)
	p.mu.tell = cfg.OnConn
	p.pairTimeout = defaultPairTimeout
	p.onWait = cfg.OnWait
	p.awaitRunning = cfg.AwaitRunning
	p.look = look
	p.server = &acceptSide{listener: cfg.Listener, handshakeTimeout: cfg.HandshakeTimeout}
	if cfg.Listener != nil {
		door, err := NewAcceptor(AcceptConfig{
			TLS: cfg.TLS, TLSConfig: cfg.TLSConfig, Keys: cfg.Keys, ClientIP: cfg.ClientIP,
			KeepAlive: cfg.KeepAlive, HandshakeTimeout: cfg.HandshakeTimeout,
			FailureRate: cfg.FailureRate, FailureBurst: cfg.FailureBurst, Logger: cfg.Logger,
		})
		if err != nil {
			p.cancel()
			return nil, fmt.Errorf("pool: ServerConfig: %w", err)
		}
		p.server.door = door
	}
	return p, nil
}

// NewServerPool makes a server pool with the seed API's rules: a nil listener
// gives nil, maxCap below 1 means 1, keepAlive of 0 or less means the default,
// a nil tlsConfig means plain TCP, one without a certificate gets a generated
// one. What cannot work (a clientIP that is no address) is answered by
// [Pool.Err] and by every get.
func NewServerPool(maxCap int, clientIP string, tlsConfig *tls.Config, listener net.Listener, keepAlive time.Duration) *Pool {
	if listener == nil {
		return nil
	}
	mode := TLSPlain
	if tlsConfig != nil {
		mode = TLSSelfSigned
	}
	p, err := NewServer(ServerConfig{
		Listener: listener, TLS: mode, TLSConfig: tlsConfig, ClientIP: clientIP,
		KeepAlive: max(keepAlive, 0), Limits: Limits{MaxCap: max(maxCap, 1)},
	})
	if err != nil {
		p = broken(err)
		p.server = &acceptSide{listener: listener} // Close closes it all the same
	}
	return p
}

// ServerManager accepts connections until Close. Call it in a goroutine of its
// own. Programs that use contexts call [Pool.Run] instead.
func (p *Pool) ServerManager() { _ = p.Run(context.Background()) }

// ServerGet takes the next idle connection and its ID. It waits up to timeout,
// in order of arrival; 0 or less does not wait. Its errors are [ErrTimeout],
// [ErrClosed], that of [Pool.Err], and those that its [Limits] ask for.
func (p *Pool) ServerGet(timeout time.Duration) (string, net.Conn, error) {
	c, err := p.acquire(context.Background(), max(timeout, 0))
	if err != nil {
		return "", nil, err
	}
	return c.ID(), c, nil
}

// IncomingGet is [Pool.ServerGet] under the name it has in NodePass's pool
// v1.0.50.
func (p *Pool) IncomingGet(timeout time.Duration) (string, net.Conn, error) {
	return p.ServerGet(timeout)
}

// Admit takes a secured and proven connection into a server pool: it reserves
// an ID, tells it to the peer before ctx ends or HandshakeTimeout has passed,
// and only then makes the connection available. Admit owns conn: on error it
// is closed. The error is [ErrFull] at MaxCap or MaxOpen and [ErrClosed] after Close or
// Drain; all deadlines are cleared on success.
func (p *Pool) Admit(ctx context.Context, conn net.Conn) error {
	if p.server == nil && p.bad == nil {
		conn.Close()
		return errors.New("pool: Admit on a client pool, which dials its own connections")
	}
	e := newEntry(conn)
	if err := p.reserveID(e); err != nil {
		closeBelowTLS(conn)
		return err
	}
	err := p.tellID(ctx, e)
	now := time.Now()

	p.mu.Lock()
	p.admitting--
	if err == nil {
		switch p.offerLocked(e, now) {
		case refusedClosed:
			err = ErrClosed
		case refusedFull:
			p.count.full++
			err = ErrFull
		}
	}
	if err != nil {
		if err != ErrClosed {
			p.failedLocked(e, err)
		}
		e.state = stateGone
		delete(p.byID, e.id)
		p.failTakersLocked(e.id)
		p.noteEmptyLocked()
	}
	p.mu.Unlock()
	if err != nil {
		closeBelowTLS(conn)
	}
	return err
}

// reserveID finds a free ID and claims it in the same critical section.
func (p *Pool) reserveID(e *entry) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.refusalLocked(); err != nil {
		return err
	}
	if !p.roomLocked() && p.admitting >= p.waiters.len || p.limits.MaxOpen > 0 && len(p.byID) >= p.limits.MaxOpen {
		p.count.full++
		p.failedLocked(e, ErrFull)
		return ErrFull
	}
	id := p.ids.choose()
	for p.byID[id] != nil || p.gone.has(id) {
		id = p.ids.choose()
	}
	e.named(id)
	p.byID[e.id] = e
	p.admitting++
	return nil
}

func (p *Pool) tellID(ctx context.Context, e *entry) error {
	ctx, cancel := context.WithTimeout(ctx, p.server.handshakeTimeout)
	defer cancel()
	e.conn.SetDeadline(time.Time{})
	// Closing works on every net.Conn, deadlines do not.
	stop := context.AfterFunc(ctx, func() { closeBelowTLS(e.conn) })
	_, err := e.conn.Write(p.ids.wire(e.id))
	if !stop() {
		err = ctx.Err() // the closed connection is the consequence
	}
	if err != nil {
		return fmt.Errorf("tell the ID to %v: %w", e.conn.RemoteAddr(), err)
	}
	// TLS may have read more than the handshake and the proof.
	if hasBufferedBytes(e.conn) {
		return fmt.Errorf("%v sent bytes before its connection was handed out", e.conn.RemoteAddr())
	}
	e.conn.SetDeadline(time.Time{})
	return nil
}

// admitFromDoor is what the front door does with a proven connection.
func (p *Pool) admitFromDoor(ctx context.Context, conn net.Conn, hello Hello) {
	if hello.Kind != KindPool {
		Tell(p.log, slog.LevelWarn, "connection_of_other_kind", Facts{"address", conn.RemoteAddr(), "kind", int(hello.Kind)},
			"Pool: %v asked for kind %d of connection, which a pool pair does not have", conn.RemoteAddr(), hello.Kind)
		closeBelowTLS(conn)
		return
	}
	if err := p.Admit(ctx, conn); err != nil {
		Tell(p.log, slog.LevelDebug, "connection_not_admitted", Facts{"address", conn.RemoteAddr(), "error", err}, "Pool: connection not admitted: %v", err)
	}
}
