package tunnel

import (
	"cmp"
	"log/slog"
	"net"
	"slices"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/access"
	"github.com/tunnelpool/pool/internal/datagram"
)

// settings are a configuration with what follows from it. They do not change.
type settings struct {
	ServerConfig
	ports    access.Ports
	forwards access.Forwards
	from     access.Sources // of clients
	proxies  access.Sources // in front of public ports
}

// settings makes them of a configuration that fill has seen to.
func (cfg *ServerConfig) settings() (*settings, error) {
	st := &settings{ServerConfig: *cfg}
	var err error
	if st.ports, err = access.ParsePorts(cfg.AllowPorts); err != nil {
		return nil, err
	}
	if cfg.AllowForward != "" {
		if st.forwards, err = access.ParseForwards(cfg.AllowForward); err != nil {
			return nil, err
		}
	}
	if st.from, err = access.NewSources(cfg.AllowFrom); err != nil {
		return nil, err
	}
	st.proxies, err = access.NewSources(cfg.TrustProxy)
	return st, err
}

// Reconfigure replaces the configuration while the server runs; it may be called
// before Run too, and at any time from any goroutine. All of cfg is checked first:
// after an error, that of [NewServer] or [ErrStopping], nothing has changed. Streams
// in progress go on in any case.
//
// What is applied, and how:
//
//   - AllowPorts. Public ports outside of it close at once, but for their streams,
//     and a client that had one, or was denied one for the former AllowPorts, is
//     asked to join again, so that it hears what it may have now. Its other ports
//     stay open meanwhile and hold their users.
//   - AllowForward. Targets outside of it are not dialed any more; clients that had
//     one, or were denied one, are asked to join again.
//   - AllowFrom. Clients from elsewhere are let go, and their ports close.
//   - TrustProxy, Wait, MaxStreams, MaxStreamsPerService, MaxFlows, MaxPooled: for
//     users, and pooled connections, that come from then on. Nobody is sent away
//     because there are more than that.
//   - MaxSessions and PoolMax, for clients that join from then on; Linger, for those
//     that are lost; Drain.
//
// restart names the fields that differ and are not applied: Listen, Listener,
// Inherited, Bind, TLS, TLSConfig, Keys, Keyring, Heartbeat, KeepAlive,
// HandshakeTimeout and Logger stay what [NewServer] was given. The keys on a
// Keyring change with its Set, and certificates by way of the callbacks of a
// TLSConfig: GetCertificate and GetConfigForClient.
func (s *Server) Reconfigure(cfg ServerConfig) (restart []string, err error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	s.reconfiguring.Lock()
	defer s.reconfiguring.Unlock()
	former := s.cfg.Load()
	restart = cfg.keep(&former.ServerConfig)
	now, err := cfg.settings()
	if err != nil {
		return nil, err
	}
	asked, let, err := s.apply(former, now)
	if err != nil {
		return nil, err
	}
	for _, c := range asked {
		s.callBack(c, "what the server allows has changed")
	}
	for _, c := range let {
		pool.Tell(s.log, slog.LevelWarn, "client_dismissed", c.ofClient("address", c.remote, "reason", notFromThere), "%s at %s is let go: %s", c.name(), c.remote, notFromThere)
		s.dismiss(c, notFromThere, farewellLimit)
	}
	return restart, nil
}

const notFromThere = "clients may not connect from there any more; see the server's --allow-from"

// keep restores what cannot change, and names it.
func (cfg *ServerConfig) keep(now *ServerConfig) (restart []string) {
	for _, f := range []struct {
		name string
		same bool
	}{
		{"Listen", cfg.Listen == now.Listen},
		{"Listener", alike(cfg.Listener, now.Listener)},
		{"Inherited", slices.EqualFunc(cfg.Inherited, now.Inherited, func(a, b net.Listener) bool { return alike(a, b) })},
		{"Bind", cfg.Bind == now.Bind},
		{"TLS", cmp.Or(cfg.TLS, pool.TLSSelfSigned) == cmp.Or(now.TLS, pool.TLSSelfSigned)},
		{"TLSConfig", cfg.TLSConfig == now.TLSConfig},
		{"Keys", slices.EqualFunc(cfg.Keys, now.Keys, func(a, b pool.Key) bool { return a.Text() == b.Text() })},
		{"Keyring", cfg.Keyring == now.Keyring || len(cfg.Keys) > 0 && len(now.Keys) > 0},
		{"Heartbeat", cfg.Heartbeat == now.Heartbeat},
		{"KeepAlive", cfg.KeepAlive == now.KeepAlive},
		{"HandshakeTimeout", cfg.HandshakeTimeout == now.HandshakeTimeout},
		{"Logger", alike(cfg.Logger, now.Logger)},
	} {
		if !f.same {
			restart = append(restart, f.name)
		}
	}
	cfg.Listen, cfg.Listener, cfg.Inherited, cfg.Bind = now.Listen, now.Listener, now.Inherited, now.Bind
	cfg.TLS, cfg.TLSConfig, cfg.Keys, cfg.Keyring = now.TLS, now.TLSConfig, now.Keys, now.Keyring
	cfg.Heartbeat, cfg.KeepAlive, cfg.HandshakeTimeout, cfg.Logger = now.Heartbeat, now.KeepAlive, now.HandshakeTimeout, now.Logger
	return restart
}

// apply makes now what holds. It returns the sessions whose clients are to join
// again, and those of clients that may not.
func (s *Server) apply(former, now *settings) (asked, let []*serverSession, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining || s.streams.Err() != nil {
		return nil, nil, ErrStopping
	}
	if err := s.door.SetAllowFrom(now.AllowFrom); err != nil {
		return nil, nil, err
	}
	s.cfg.Store(now)
	s.users.set(now.MaxStreams, now.Wait)
	s.pools.limit.Store(int64(now.MaxPooled))
	for _, h := range s.holders {
		s.entitle(h, *h.grant.Load())
		h.pooled.limit.Store(int64(half(now.MaxPooled)))
	}
	lost := make(map[*serverSession]bool)
	for _, p := range s.publishers {
		var gone []*published
		for _, sv := range p.services {
			sv.entrance.resize(now)
			if !now.ports.Allows(sv.port()) {
				gone = append(gone, sv)
			}
		}
		if len(gone) > 0 && p.session != nil {
			lost[p.session] = true
		}
		p.withdrawLocked(gone...)
		s.trimLocked(p)
	}
	rules := former.AllowPorts != now.AllowPorts || former.AllowForward != now.AllowForward
	for _, c := range s.sessions {
		switch {
		case !now.from.Allow(c.remote):
			c.stop() // first: a port that is being opened meanwhile finds the session over
			c.publisher.withdrawLocked(c.publisher.services...)
			let = append(let, c)
		case lost[c], rules && (c.curbed.Load() || c.forwards.exceed(c)):
			asked = append(asked, c)
		}
	}
	return asked, let, nil
}

// resize is for users who come from then on.
func (e *entrance) resize(now *settings) {
	e.crowds[0].set(now.MaxStreamsPerService, now.Wait)
	if l, ok := e.Listener.(*datagram.Listener); ok {
		l.SetMaxFlows(now.MaxFlows)
	}
}

// exceed reports whether a target is not allowed any more.
func (fs *serverForwards) exceed(c *serverSession) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, target := range fs.targets {
		if c.mayForward(target.address) != "" {
			return true
		}
	}
	return false
}
