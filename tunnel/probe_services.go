package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/tunnelpool/pool/internal/service"
	"github.com/tunnelpool/pool/internal/wire"
)

// askServices asks for each service's port, and tells what came of its targets.
func (p *probe) askServices(at *probeSession, reached [][]dialed) {
	for i := range p.cfg.Services {
		s := &p.cfg.Services[i]
		if p.blocked != "" {
			p.skipFor(StepService, s.Name)
		} else {
			p.askService(at, s, uint16(i))
		}
		p.reportTargets(s, reached[i])
	}
}

// question asks the server, as a step. False: it was denied or did not answer.
func (p *probe) question(at *probeSession, step *ProbeStep, about wire.Message) (standing wire.Standing, ok bool) {
	begun := time.Now()
	a, err := at.ask(p.ctx, wire.Ask{Identity: p.identity, About: about})
	step.Time = time.Since(begun)
	switch {
	case err != nil:
		p.fail(*step, diagnosis{what: fmt.Sprintf("%s: no answer from the server: %s", step.Subject, quoteSafe(err.Error())),
			remedy: "do both ends run the same version? The server's log says more"}, err)
		p.blocked = step.Name // there is no use in asking more
		return 0, false
	case a.Code != wire.OK:
		p.fail(*step, diagnosis{what: step.Subject + ": " + quoteSafe(a.Text), remedy: probeRemedy(a.Code)}, &refusal{a.Code, a.Text})
		return 0, false
	}
	p.running = p.running || a.Standing == wire.OwnUp
	return a.Standing, true
}

// refusal is the server's answer that something would not be granted.
type refusal struct {
	code wire.DenyCode
	text string
}

func (r *refusal) Error() string { return quoteSafe(r.text) }

// probeRemedy adds to whatToDo what only somebody who checks can do.
func probeRemedy(code wire.DenyCode) string {
	switch code {
	case wire.PortHeld:
		return whatToDo(code) + "; if it is this very client that has it, check with its --state-dir"
	case wire.TargetNotAllowed:
		return "ask the server's operator, or leave the forward out"
	case wire.TooMany:
		return "the server's operator can raise its limits"
	}
	return whatToDo(code)
}

func (p *probe) askService(at *probeSession, s *Service, ref uint16) {
	step := ProbeStep{Name: StepService, Subject: s.Name}
	standing, ok := p.question(at, &step, s.request(ref))
	if !ok {
		return
	}
	port := onNetwork(s.network(), fmt.Sprintf("port %d", s.Port))
	if s.Port == 0 {
		port = onNetwork(s.network(), "a port of the server's choice")
	}
	switch standing {
	case wire.OwnUp:
		step.Detail = fmt.Sprintf("%s: %s is published by this client, which is running", s.Name, port)
	case wire.OwnAway:
		step.Detail = fmt.Sprintf("%s: %s is kept for this client's return", s.Name, port)
	case wire.GroupShared:
		step.Detail = fmt.Sprintf("%s: %s would be shared with the others of group %q", s.Name, port, s.Group)
	case wire.HolderDumb:
		step.State = ProbeWarning
		step.Detail = fmt.Sprintf("%s: %s is held by another client, which gives no sign of life", s.Name, port)
		step.Remedy = "this client would take it over; is that what is wanted?"
	default:
		step.Detail = fmt.Sprintf("%s: %s is allowed and free", s.Name, port)
		if s.Port == 0 {
			step.Detail = fmt.Sprintf("%s: %s is allowed", s.Name, port)
		}
	}
	p.done(step)
}

// dialed is what came of one target.
type dialed struct {
	address string
	step    ProbeStep
	health  *ProbeStep // nil without a health check, or when it could not be dialed
}

// dialTargets tries all targets of all services at the same time, so that those
// that do not answer are waited for once.
func (p *probe) dialTargets() [][]dialed {
	all := make([][]dialed, len(p.cfg.Services))
	var tasks sync.WaitGroup
	room := make(chan struct{}, maxProbeDials)
	for i := range p.cfg.Services {
		s := &p.cfg.Services[i]
		all[i] = make([]dialed, len(splitTargets(*s)))
		for j, address := range splitTargets(*s) {
			tasks.Go(func() { // ends within the time-outs of one dial and one health check
				room <- struct{}{}
				all[i][j] = dialOne(p.ctx, s, address)
				<-room
			})
		}
	}
	tasks.Wait()
	return all
}

// maxProbeDials bounds the targets that are dialed at the same time.
const maxProbeDials = 64

func dialOne(ctx context.Context, s *Service, address string) dialed {
	d := dialed{address: address, step: ProbeStep{Name: StepTarget, Subject: address}}
	begun := time.Now()
	var conn net.Conn
	var reason wire.ResetReason
	var err error
	if s.isUDP() {
		conn, err = (&net.Dialer{Timeout: s.ConnectTimeout}).DialContext(ctx, "udp", address) // sends nothing
		if err != nil {
			reason = service.DialReason(ctx, err)
		}
	} else {
		conn, reason, err = service.DialTarget(ctx, address, s.ConnectTimeout)
	}
	d.step.Time = time.Since(begun)
	if err != nil {
		failedTarget(&d.step, s, diagnoseTarget(address, reason, err), err)
		return d
	}
	conn.Close()
	d.step.Detail = fmt.Sprintf("%s: %s accepts connections", s.Name, address)
	if s.isUDP() {
		d.step.Detail = fmt.Sprintf("%s: %s is a valid address; whether it answers over UDP only users can tell", s.Name, address)
	}
	if check, ok := s.healthCheck(); ok {
		d.health = checkOne(ctx, s, address, check)
	}
	return d
}

func checkOne(ctx context.Context, s *Service, address string, check service.Check) *ProbeStep {
	step := &ProbeStep{Name: StepHealth, Subject: address}
	begun := time.Now()
	why := check.Once(ctx, address)
	step.Time = time.Since(begun)
	if why != nil {
		failedTarget(step, s, diagnosis{what: explainFailure(*why)}, why.Err)
		return step
	}
	step.Detail = fmt.Sprintf("%s: %s is well, says --health %s", s.Name, address, s.Health)
	return step
}

func failedTarget(step *ProbeStep, s *Service, why diagnosis, err error) {
	if why.remedy == "" {
		why.remedy = "check the target's address, and that this machine can reach it"
		if step.Name == StepHealth {
			why.remedy = "see what is wrong with it, or with the --health of the service"
		}
	}
	step.State, step.Detail, step.Remedy, step.Err = ProbeFailed, s.Name+": "+why.what, why.remedy, err
}

// reportTargets tells of a service's targets. One that is down is no failure of a
// service that has others.
func (p *probe) reportTargets(s *Service, all []dialed) {
	well := false
	for _, d := range all {
		well = well || d.step.State != ProbeFailed && (d.health == nil || d.health.State != ProbeFailed)
	}
	tell := func(step ProbeStep) {
		if step.State == ProbeFailed && well {
			step.State = ProbeWarning
		}
		p.done(step)
	}
	for _, d := range all {
		tell(d.step)
		if d.health != nil {
			tell(*d.health)
		}
	}
}

// askForwards asks for each forward, and looks whether its address is free here.
func (p *probe) askForwards(at *probeSession) {
	for i := range p.cfg.Forwards {
		f := &p.cfg.Forwards[i]
		if p.blocked != "" {
			p.skipFor(StepForward, f.Name)
		} else {
			step := ProbeStep{Name: StepForward, Subject: f.Name}
			if _, ok := p.question(at, &step, f.request(uint16(i))); ok {
				step.Detail = fmt.Sprintf("%s: users may reach %s at the server", f.Name, f.Target)
				p.done(step)
			}
		}
		p.lookAtListen(f)
	}
}

// lookAtListen looks whether a forward's address could be opened. The client itself
// has it when it runs.
func (p *probe) lookAtListen(f *Forward) {
	step := ProbeStep{Name: StepListen, Subject: f.Listen}
	err := service.CanListen(f.Network, f.Listen)
	switch {
	case err == nil:
		step.Detail = fmt.Sprintf("%s: %s is free here", f.Name, onNetwork(f.network(), f.Listen))
	case service.AddrInUse(err) && p.running:
		step.Detail = fmt.Sprintf("%s: %s is in use, as it must be while this client runs", f.Name, onNetwork(f.network(), f.Listen))
	default:
		p.fail(step, diagnosis{what: fmt.Sprintf("%s: %s", f.Name, err), remedy: listenRemedy(err)}, err)
		return
	}
	p.done(step)
}

func listenRemedy(err error) string {
	switch {
	case service.AddrInUse(err):
		return "another program has it: stop that one, or choose another port"
	case errors.Is(err, syscall.EACCES):
		return "ports below 1024 need root or CAP_NET_BIND_SERVICE"
	}
	return "choose an address of this machine"
}
