package tunnel

import (
	"context"
	"fmt"
	"net"
	"time"

	pool "github.com/tunnelpool/pool"
)

// ProbeState is how one step of a [Probe] went.
type ProbeState string

// The states of a step.
const (
	ProbeOK      ProbeState = "ok"
	ProbeWarning ProbeState = "warning" // it works, and somebody should see to it
	ProbeFailed  ProbeState = "failed"
	ProbeSkipped ProbeState = "skipped" // a step before failed
)

// The names of the steps, in their order. The last five come once for each
// service, its targets, and each forward.
const (
	StepConfiguration = "configuration" // what NewClient or NewServer would refuse
	StepKey           = "key"           // the key's ID
	StepName          = "name"          // the server's name is looked up
	StepConnect       = "connect"       // TCP, to each of its addresses
	StepTLS           = "tls"           // the mode and the server's certificate
	StepProof         = "proof"         // both ends hold the key
	StepSession       = "session"       // the server lets a client in
	StepRoundTrip     = "round_trip"    // of a few pings
	StepPooled        = "pooled"        // a first pooled connection
	StepService       = "service"       // its public port may be had
	StepTarget        = "target"        // can be dialed
	StepHealth        = "health"        // the target's health check
	StepForward       = "forward"       // its target is allowed
	StepListen        = "listen"        // a local address is free
)

// ProbeStep is one step of a [Probe], with its result.
type ProbeStep struct {
	Name    string        // one of the Step constants
	Subject string        // which, where there are several: an address, the name of a service, a target
	State   ProbeState    //
	Time    time.Duration // that it took; 0 for what takes none
	Detail  string        // what was found, in one line
	Remedy  string        // what a person can do, of a failure or warning; may be empty
	Err     error         // of a failure
}

// Probe finds out, step by step, whether a client of cfg would work: it looks the
// server up, connects, proves the key, joins, and asks whether every service and
// forward may be had. It dials the targets of services, and looks whether the
// addresses of forwards are free here. Each step is reported as soon as it is over,
// in order, by calls from the goroutine of Probe.
//
// It is safe beside the running client that has the same configuration: it joins
// as a client of its own, under a random identity, and only asks; no port is opened
// or changes hands. cfg.Identity is for whom it asks.
//
// Nil means that no step failed. A [*ConfigError] is of a configuration that cannot
// work, of which the first step tells; any other error is that of the first step
// that failed, or of ctx.
func Probe(ctx context.Context, cfg ClientConfig, report func(ProbeStep)) error {
	p := &probe{ctx: ctx, report: report, lookup: net.DefaultResolver.LookupIPAddr}
	return p.client(cfg)
}

// client is Probe.
func (p *probe) client(cfg ClientConfig) error {
	p.identity, p.ownDial = cfg.Identity, cfg.Dial != nil
	err := cfg.fill()
	p.cfg = cfg
	if err != nil {
		p.report(ProbeStep{Name: StepConfiguration, State: ProbeFailed, Detail: err.Error(), Err: err})
		return err
	}
	p.done(ProbeStep{Name: StepConfiguration, Detail: fmt.Sprintf("%s, server %s, TLS mode %s", p.contents(), cfg.Server, p.mode())})
	p.done(ProbeStep{Name: StepKey, Detail: cfg.Key.ID().String()})
	targets := make(chan [][]dialed, 1)
	go func() { targets <- p.dialTargets() }() // ends within the time-outs of targets
	at := p.join()
	p.askServices(at, <-targets)
	p.askForwards(at)
	at.leave()
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	return p.failed
}

// probe is one Probe under way.
type probe struct {
	ctx      context.Context
	cfg      ClientConfig // filled
	identity [16]byte     // of the client that it is for; zero if that is not known
	ownDial  bool         // the caller's, which knows how to get to the server
	report   func(ProbeStep)
	lookup   func(ctx context.Context, host string) ([]net.IPAddr, error)

	failed  error  // of the first step that did
	blocked string // the step of the way to the server that failed, or ""
	running bool   // the client itself is connected
}

// done reports a step, ok unless it says otherwise. Nothing is reported once ctx
// has ended.
func (p *probe) done(s ProbeStep) {
	if p.ctx.Err() != nil {
		return
	}
	if s.State == "" {
		s.State = ProbeOK
	}
	if s.State == ProbeFailed && p.failed == nil {
		p.failed = fmt.Errorf("%s: %w", s.Name, s.Err)
	}
	p.report(s)
}

// fail reports a step that failed.
func (p *probe) fail(s ProbeStep, why diagnosis, err error) {
	if remedy, ok := lastResort[s.Name]; ok && why.remedy == "" {
		why.remedy = remedy
	}
	s.State, s.Detail, s.Remedy, s.Err = ProbeFailed, why.what, why.remedy, err
	p.done(s)
}

// lastResort is what to do about a failure of a step that nothing else is known of.
var lastResort = map[string]string{
	StepConnect:   "check --server and this machine's network",
	StepTLS:       "does the server's --allow-from let this network in, and is a tunnel-server there? Its log says more",
	StepProof:     "the server's log says more",
	StepSession:   "the server's log says more",
	StepRoundTrip: "the server's log says more",
}

// skip reports steps that cannot be tried.
func (p *probe) skip(names ...string) {
	for _, name := range names {
		p.skipFor(name, "")
	}
}

func (p *probe) skipFor(name, subject string) {
	p.done(ProbeStep{Name: name, Subject: subject, State: ProbeSkipped, Detail: fmt.Sprintf("not tried, since %q failed", p.blocked)})
}

// mode is the TLS mode in force.
func (p *probe) mode() pool.TLSMode {
	if p.cfg.TLS == "" {
		return pool.TLSSelfSigned
	}
	return p.cfg.TLS
}

// contents is what there is to publish and to forward; one of both at least.
func (p *probe) contents() string {
	services, forwards := counted(len(p.cfg.Services), "service"), counted(len(p.cfg.Forwards), "forward")
	switch {
	case len(p.cfg.Forwards) == 0:
		return services
	case len(p.cfg.Services) == 0:
		return forwards
	}
	return services + " and " + forwards
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
