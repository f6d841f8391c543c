package tunnel

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/proxyheader"
	"github.com/tunnelpool/pool/internal/service"
)

// Defaults and bounds of what a service can have beside its targets.
const (
	DefaultConnectTimeout = 10 * time.Second
	DefaultHealthInterval = 5 * time.Second
	MinHealthInterval     = 100 * time.Millisecond
)

// target is what the client remembers of where one service leads to, in one
// configuration.
type target struct {
	service Service
	all     *service.Targets
	watch   func() // ends the health checks; nil while there are none; guarded by Client.mu
	headers proxyheader.Version
	*lasting
}

// lasting is what a service's targets of all configurations have in common.
type lasting struct {
	trouble seldom
	lost    seldom       // datagrams
	rate    liveRate     // of all its streams together
	served  atomic.Int64 // streams that it has
	traffic targetTraffic
	public  atomic.Pointer[netip.AddrPort] // the service's, for headers; nil: not known yet
}

// splitTargets are the targets of a service, one by one.
func splitTargets(s Service) []string { return strings.Split(s.Target, ",") }

// checkTargets refuses what cannot be dialed. Errors do not say which service it
// is of.
func (s *Service) checkTargets() error {
	targets := splitTargets(*s)
	switch {
	case len(targets) > service.MaxTargets:
		return fmt.Errorf("there are %d targets; %d is the limit", len(targets), service.MaxTargets)
	case s.ConnectTimeout < 0:
		return fmt.Errorf("ConnectTimeout %v is negative", s.ConnectTimeout)
	case s.HealthInterval != 0 && s.HealthInterval < MinHealthInterval:
		return fmt.Errorf("HealthInterval %v is below %v", s.HealthInterval, MinHealthInterval)
	}
	for _, text := range targets {
		if path, ok := strings.CutPrefix(text, service.UnixScheme+"/"); ok {
			if err := service.CheckSocketPath("/" + path); err != nil {
				return err
			}
			continue
		}
		host, port, err := net.SplitHostPort(text)
		switch {
		case host == "unix" && err == nil && strings.Trim(port, "0123456789") != "":
			return service.CheckSocketPath(port)
		case err != nil || port == "":
			return fmt.Errorf("the target %q is not HOST:PORT", text)
		case len(host) > 253:
			return fmt.Errorf("the target has a host name of %d bytes", len(host))
		}
	}
	if s.ProxyProtocol != "" {
		if _, err := proxyheader.ParseVersion(s.ProxyProtocol); err != nil {
			return fmt.Errorf("ProxyProtocol %q: %w", s.ProxyProtocol, err)
		}
	}
	if s.Health != "" {
		if _, err := service.ParseCheck(s.Health); err != nil {
			return fmt.Errorf("the health check %q: %w", s.Health, err)
		}
	}
	return nil
}

// newTarget prepares what a service leads to. It goes on where the former target of
// the service ends, if there was one.
func (c *Client) newTarget(s Service, former *target) *target {
	t := &target{service: s}
	t.headers, _ = proxyheader.ParseVersion(s.ProxyProtocol) // 0 if there is to be none
	if former != nil && reflect.DeepEqual(former.service.checked(), s.checked()) {
		t.all = former.all
	} else {
		t.all = service.NewTargets(splitTargets(s), s.ConnectTimeout, func(ch service.Change) { c.targetChanged(s.Name, ch) })
	}
	if former != nil {
		t.lasting = former.lasting
	} else {
		t.lasting = new(lasting)
	}
	return t
}

// checked is what the state of a service's targets depends on.
func (s Service) checked() Service {
	return Service{Name: s.Name, Network: s.Network, Target: s.Target, ConnectTimeout: s.ConnectTimeout,
		Health: s.Health, HealthInterval: s.HealthInterval, ProxyProtocol: s.ProxyProtocol}
}

// watchTargetLocked checks the health of a service's targets if that was asked for,
// whether the server can be reached or not, as long as the client runs.
func (c *Client) watchTargetLocked(t *target) {
	check, ok := t.service.healthCheck()
	if !ok {
		return
	}
	ctx, stop := context.WithCancel(c.running)
	t.watch = stop
	c.tasks.Go(func() { t.all.Watch(ctx, check) }) // ends with ctx
}

// unwatchLocked ends what watchTargetLocked began.
func (t *target) unwatchLocked() {
	if t.watch != nil {
		t.watch()
	}
}

// healthCheck is how the targets are to be checked. False: not at all.
func (s *Service) healthCheck() (check service.Check, ok bool) {
	check, err := service.ParseCheck(s.Health)
	if err != nil {
		return check, false // none was asked for: checkTargets has seen to the rest
	}
	if headers, _ := proxyheader.ParseVersion(s.ProxyProtocol); headers != 0 {
		check.Preface = proxyheader.Format(headers, netip.AddrPort{}, netip.AddrPort{})
	}
	check.Interval = s.HealthInterval
	check.Timeout = min(s.HealthInterval, s.ConnectTimeout)
	return check, true
}

// isUpAt notes where the server listens for the service. Of one that listens on
// all its addresses, that of the control connection is taken.
func (t *target) isUpAt(addr string, server net.Addr) {
	public := proxyheader.Parse(addr)
	if tcp, ok := server.(*net.TCPAddr); ok && public.Addr().IsUnspecified() {
		public = netip.AddrPortFrom(tcp.AddrPort().Addr(), public.Port())
	}
	t.public.Store(&public)
}

// preface is what a connection to a target begins with. The user's address is the
// server's word.
func (t *target) preface(user string) []byte {
	if t.headers == 0 {
		return nil
	}
	var public netip.AddrPort
	if at := t.public.Load(); at != nil {
		public = *at
	}
	return proxyheader.Format(t.headers, proxyheader.Parse(user), public)
}

// targetChanged tells that a target went down, or is well again.
func (c *Client) targetChanged(name string, ch service.Change) {
	well := facts{"service", name, "target", ch.Address, "well", ch.Well, "of", ch.Of}
	switch {
	case ch.Why == nil && ch.Of == 1:
		pool.Tell(c.log, slog.LevelInfo, "target_up", well, "Service %q: target %s is well again", name, ch.Address)
	case ch.Why == nil:
		pool.Tell(c.log, slog.LevelInfo, "target_up", well, "Service %q: target %s is well again; %d of %d are", name, ch.Address, ch.Well, ch.Of)
	case ch.Of == 1:
		pool.Tell(c.log, slog.LevelWarn, "target_down", append(well, "error", ch.Why.Err), "Service %q: %s", name, explainFailure(*ch.Why))
	default:
		pool.Tell(c.log, slog.LevelWarn, "target_down", append(well, "error", ch.Why.Err),
			"Service %q: %s; users go to others, %d of %d targets are well", name, explainFailure(*ch.Why), ch.Well, ch.Of)
	}
}
