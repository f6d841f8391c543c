package pool

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	defaultKeepAlive              = 30 * time.Second
	defaultHandshakeTimeout       = 10 * time.Second
	defaultMaxHandshakes          = 1024
	defaultMaxHandshakesPerSource = 256
)

// AcceptConfig says whom an [Acceptor] lets in.
type AcceptConfig struct {
	// TLS is the mode; the zero value means [TLSSelfSigned].
	TLS TLSMode

	// TLSConfig is cloned and raised to TLS 1.3; nil means an empty one. In
	// mode 1 a certificate is generated when it has none.
	TLSConfig *tls.Config

	// Keys finds the key that a connection has to prove; nil asks for no proof.
	Keys KeyFunc

	// ClientIP, when set, is the only address that may connect. An IPv4 address
	// and its IPv4-mapped IPv6 form are the same; zones are ignored.
	ClientIP string

	// AllowFrom, when not empty, are the prefixes whose addresses may connect.
	// Others are closed before anything is read of them, and counted as
	// [RejectAddress]. An IPv4-mapped IPv6 address or prefix is the IPv4 one.
	AllowFrom []netip.Prefix

	// KeepAlive is the longest idle time before TCP keep-alive probes, see [TuneTCP].
	// Zero means 30 s; a negative value turns them off.
	KeepAlive time.Duration

	// HandshakeTimeout bounds TLS, the proof and what handle does, together.
	// Zero means 10 s.
	HandshakeTimeout time.Duration

	// MaxHandshakes and MaxHandshakesPerSource cap how many connections are
	// between accept and the end of handle, in all and from one source: an IPv4
	// address or an IPv6 /64. Zero means 1024 and 256. At a cap the one longest
	// without progress makes way for the newcomer, those that said nothing
	// first. See [Acceptor.Favor] for who has more.
	MaxHandshakes, MaxHandshakesPerSource int

	// FailureRate is how many failed attempts a second are borne from one
	// source, and FailureBurst how many at once. An attempt is a connection
	// whose first message is in and in form: it counts while it is unproven,
	// and after that if it failed; one that succeeds does not count. While
	// there are too many, who comes with another is told to come back, see
	// [ErrBusy], before TLS or the proof cost anything. All sources together
	// that are not favored may make 8 times as many.
	//
	// Zero means 200 a second, 1,000 without TLS, and 512 at once. A negative
	// FailureRate means no limit, which suits a port that everybody reaches
	// through one proxy.
	FailureRate  float64
	FailureBurst int

	// Logger takes refused connections at debug level. Warnings are failures to
	// accept, and wrong proofs: the first of a source, and then once a minute
	// how many more there were; and at most once a minute those who come from
	// addresses that may not connect, and those without the certificate that a
	// TLSConfig demands. Nil logs nothing.
	Logger Logger
}

// RejectReason says why a connection did not get through the front door.
type RejectReason string

const (
	RejectAddress RejectReason = "address" // not from AcceptConfig.ClientIP and AllowFrom
	RejectCap     RejectReason = "cap"     // made way for a newcomer, or found no place
	RejectRate    RejectReason = "rate"    // unheard: too many attempts of its source failed
	RejectTLS     RejectReason = "tls"     // the TLS handshake failed, or only one side speaks TLS
	RejectProof   RejectReason = "proof"   // wrong proof, unknown key, or not our protocol
	RejectTimeout RejectReason = "timeout" // not done within HandshakeTimeout
	RejectClosed  RejectReason = "closed"  // the peer left in the middle
)

// AcceptStats counts what an [Acceptor] did since it was made.
type AcceptStats struct {
	InFlight int                     // between accept and the end of handle, now
	Accepted uint64                  // passed to handle
	Rejected map[RejectReason]uint64 // the caller's own copy; reasons that never occurred are missing
}

// Acceptor is the front door of a port: it brings strangers through TLS and the
// proof of the key, without letting them hold up each other or grow anything
// without bound. It is safe for concurrent use and may serve several listeners,
// which then share its caps.
type Acceptor struct {
	keys             KeyFunc
	tls              *tls.Config // nil: plain
	clientIP         netip.Addr  // not valid: any
	allowFrom        atomic.Pointer[[]netip.Prefix]
	outsiders        paced // those from elsewhere
	uncertified      paced // those without the right certificate
	keepAlive        time.Duration
	handshakeTimeout time.Duration
	log              Logger
	places           *handshakes
	failures         *failures

	mu       sync.Mutex // guards the counters
	accepted uint64
	rejected map[RejectReason]uint64
}

// NewAcceptor returns an Acceptor. It refuses a configuration that cannot work
// with an error that names the field.
func NewAcceptor(cfg AcceptConfig) (*Acceptor, error) {
	mode, err := cfg.TLS.orDefault()
	if err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	a := &Acceptor{
		keys:             cfg.Keys,
		keepAlive:        cmp.Or(cfg.KeepAlive, defaultKeepAlive),
		handshakeTimeout: cmp.Or(cfg.HandshakeTimeout, defaultHandshakeTimeout),
		log:              orSilent(cfg.Logger),
		rejected:         make(map[RejectReason]uint64),
	}
	if a.tls, err = serverTLSConfig(mode, cfg.TLSConfig); err != nil {
		return nil, err
	}
	askFirst(a.tls)
	if err := a.letIn(cfg.ClientIP, cfg.AllowFrom); err != nil {
		return nil, err
	}
	switch {
	case cfg.HandshakeTimeout < 0:
		return nil, errors.New("HandshakeTimeout: it is negative")
	case cfg.MaxHandshakes < 0:
		return nil, errors.New("MaxHandshakes: it is negative")
	case cfg.MaxHandshakesPerSource < 0:
		return nil, errors.New("MaxHandshakesPerSource: it is negative")
	case math.IsNaN(cfg.FailureRate):
		return nil, errors.New("FailureRate: it is not a number")
	case cfg.FailureBurst < 0:
		return nil, errors.New("FailureBurst: it is negative")
	}
	places := cmp.Or(cfg.MaxHandshakes, defaultMaxHandshakes)
	a.places = newHandshakes(places, cmp.Or(cfg.MaxHandshakesPerSource, defaultMaxHandshakesPerSource))
	limit := rate.Limit(cfg.FailureRate)
	switch {
	case limit < 0:
		limit = rate.Inf
	case limit == 0 && mode == TLSPlain:
		limit = defaultFailureRatePlain
	case limit == 0:
		limit = defaultFailureRate
	}
	a.failures = newFailures(limit, cmp.Or(cfg.FailureBurst, defaultFailureBurst), places)
	return a, nil
}

// Favor gives the source of addr, an IPv4 address or an IPv6 /64, a reserved
// share of the front door until release is called: for the source of a live
// session, so that strangers, wherever they come from, cannot keep its client's
// further connections out. A favored source may have twice as many handshakes
// in flight and fail four times as often as others. Half of all handshakes in
// flight are the favored sources' when they need them, and what strangers may
// fail together is not their concern.
//
// Favor may be called several times for a source, which is favored until the
// last release. An address that is no IP address has no share to reserve. Each
// release may be called more than once.
func (a *Acceptor) Favor(addr net.Addr) (release func()) {
	source := sourceOf(ipOf(addr))
	if !source.IsValid() {
		return func() {}
	}
	return sync.OnceFunc(a.places.favor(source))
}

// Stats returns the counters as they are now.
func (a *Acceptor) Stats() AcceptStats {
	inFlight := a.places.inFlight()
	a.mu.Lock()
	defer a.mu.Unlock()
	return AcceptStats{InFlight: inFlight, Accepted: a.accepted, Rejected: maps.Clone(a.rejected)}
}

// ipOf returns an address without its port, unmapped and without a zone; not
// valid when there is none.
func ipOf(addr net.Addr) netip.Addr {
	var ip netip.Addr
	switch addr := addr.(type) {
	case nil:
	case *net.TCPAddr:
		ip = addr.AddrPort().Addr()
	default:
		if withPort, err := netip.ParseAddrPort(addr.String()); err == nil {
			ip = withPort.Addr()
		}
	}
	return ip.Unmap().WithZone("")
}

// sourceOf groups addresses by who is likely behind them: one IPv4 address, or
// the IPv6 /64 that a single subscriber usually has all of.
func sourceOf(ip netip.Addr) netip.Prefix {
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	source, _ := ip.Prefix(bits) // not valid when ip is not
	return source
}
