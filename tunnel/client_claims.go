package tunnel

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/tunnelpool/pool/internal/service"
	"github.com/tunnelpool/pool/internal/wire"
)

// entry is a service or a forward of the configuration, over all sessions and all
// configurations that have it. Client.mu guards it.
type entry struct {
	status  ServiceStatus
	request wire.Message // that asks the server for it, under whatever ref
}

func (e *entry) base() *entry { return e }

// clientService is a service of the client's.
type clientService struct {
	entry
	target atomic.Pointer[target] // where its next users go
}

// forward is one of the client's, with its listener.
type forward struct {
	entry
	now      atomic.Pointer[Forward] // as it is configured
	listener net.Listener            // public's
	public   *service.Public
	gone     chan struct{} // closed when it is not configured any more

	open    atomic.Int64 // users being served
	traffic traffic
}

// claims are what one session has asked the server for, services or forwards, by
// ref. A ref is of use again when the server has confirmed that it is withdrawn.
// Client.mu guards them.
type claims[E interface {
	comparable
	base() *entry
}] struct {
	what   byte // as a Withdraw has it
	next   uint16
	byRef  map[uint16]*claim[E]
	latest map[E]*claim[E] // those that are not withdrawn
}

type claim[E any] struct {
	of         E
	ref        uint16
	asked      wire.Message // the latest request
	unanswered int          // requests
	up         bool
	final      bool // denied, which will not pass in this session
	withdrawn  bool // and not confirmed; of forwards also guarded by the lock of the session's numbers
}

// update makes what the server has to be told so that it has what is wanted, in
// that order. With again, what was denied is asked for again, if that may pass.
func (cl *claims[E]) update(wanted []E, again bool) (say []wire.Message) {
	if cl.byRef == nil {
		cl.byRef, cl.latest = make(map[uint16]*claim[E]), make(map[E]*claim[E])
	}
	still := make(map[E]bool)
	for _, e := range wanted {
		still[e] = true
	}
	for e, c := range cl.latest {
		// A service can change while it is up, a forward cannot.
		if !still[e] || cl.what == wire.WhatForward && c.asked != e.base().request {
			c.withdrawn = true
			delete(cl.latest, e)
			say = append(say, wire.Withdraw{What: cl.what, Ref: c.ref})
		}
	}
	for _, e := range wanted {
		request := e.base().request
		c := cl.latest[e]
		switch {
		case c == nil && len(cl.byRef) >= maxClaims:
			continue // until the server has confirmed what it owes
		case c == nil:
			c = &claim[E]{of: e, ref: cl.free()}
			cl.byRef[c.ref], cl.latest[e] = c, c
		case c.asked != request:
		case again && !c.up && !c.final && c.unanswered == 0:
		default:
			continue
		}
		c.asked, c.final = request, false
		c.unanswered++
		say = append(say, under(c.ref, request))
	}
	return say
}

// maxClaims bounds the services, and the forwards, that are up or whose end a server
// has not confirmed, so that there is a number for each.
const maxClaims = 16 * maxServices

// free is a number that nothing has; there always is one.
func (cl *claims[E]) free() (ref uint16) {
	for cl.byRef[cl.next] != nil || cl.next == wire.RefProbe {
		cl.next++
	}
	cl.next++
	return cl.next - 1
}

// under is a request with its ref.
func under(ref uint16, request wire.Message) wire.Message {
	switch m := request.(type) {
	case wire.Register:
		m.Ref = ref
		return m
	case wire.Forward:
		m.Ref = ref
		return m
	}
	return request
}

// answered takes the server's answer to a request. The claim is nil if the answer
// does not matter any more.
func (cl *claims[E]) answered(ref uint16, code wire.DenyCode) (*claim[E], error) {
	c := cl.byRef[ref]
	switch {
	case c == nil:
		return nil, fmt.Errorf("the server answers for %s %d, which we do not have", cl.name(), ref)
	case c.unanswered == 0:
		return nil, fmt.Errorf("the server answers for %s %d, which we did not ask about", cl.name(), ref)
	}
	c.unanswered--
	c.up, c.final = code == wire.OK, code != wire.OK && !mayPass(code)
	if c.withdrawn {
		return nil, nil
	}
	return c, nil
}

// confirmed takes the server's word that nothing more comes under a ref.
func (cl *claims[E]) confirmed(ref uint16) error {
	c := cl.byRef[ref]
	if c == nil || !c.withdrawn {
		return fmt.Errorf("the server confirms the end of %s %d, which we did not withdraw", cl.name(), ref)
	}
	delete(cl.byRef, ref)
	return nil
}

func (cl *claims[E]) name() string {
	if cl.what == wire.WhatForward {
		return "forward"
	}
	return "service"
}

// newPace keeps a session within what a server bears.
func newPace() *rate.Limiter { return rate.NewLimiter(askRate, askBurst) }

// updates makes what the server has to be told so that it has what is configured.
// A session that is released has nothing.
func (cs *clientSession) updates(again bool) (say []wire.Message) {
	c := cs.client
	c.mu.Lock()
	defer c.mu.Unlock()
	var services []*clientService
	var forwards []*forward
	if !cs.released {
		if cs.publishes() {
			services = c.services
		}
		if cs.forwarding != nil {
			forwards = c.forwards
		}
	}
	say = cs.services.update(services, again)
	cs.numbers.mu.Lock() // no stream is opened behind a Withdraw
	defer cs.numbers.mu.Unlock()
	return append(say, cs.forwards.update(forwards, again)...)
}

// claims makes what a session begins with: all that is configured, and that there is
// no more of what the server may have kept from a former one.
func (cs *clientSession) claims() []wire.Message {
	return append(cs.updates(true), wire.Withdraw{What: wire.WhatRest})
}

// publishes reports whether the session was made for services: then it has warm
// connections.
func (cs *clientSession) publishes() bool { return len(cs.cfg.Services) > 0 }

// claimAll asks for every service and forward, again for those whose denial may
// pass, and for what the configuration becomes. It begins with first.
func (cs *clientSession) claimAll(first []wire.Message) {
	retry := time.NewTicker(registerRetry)
	defer retry.Stop()
	for say := first; cs.sayAll(say); {
		select {
		case <-cs.link.Done():
			return
		case <-cs.retired:
			return
		case <-cs.changed:
			say = cs.updates(false)
		case <-retry.C:
			say = cs.updates(true)
		}
	}
}

// sayAll sends messages, no faster than the server bears. False: the link ended.
func (cs *clientSession) sayAll(messages []wire.Message) bool {
	for _, m := range messages {
		due := time.NewTimer(cs.pace.Reserve().Delay())
		select {
		case <-cs.link.Done():
			due.Stop()
			return false
		case <-due.C:
		}
		cs.link.Send(m)
	}
	return true
}

// change has claimAll look at the configuration.
func (cs *clientSession) change() {
	select {
	case cs.changed <- struct{}{}:
	default: // it is about to
	}
}

var errRestTwice = errors.New("the server confirms the end of the rest, which we did not withdraw again")

// withdrawn takes the server's confirmation that a service or forward is.
func (cs *clientSession) withdrawn(m wire.Withdrawn) (err error) {
	c := cs.client
	c.mu.Lock()
	defer c.mu.Unlock()
	switch m.What {
	case wire.WhatService:
		err = cs.services.confirmed(m.Ref)
	case wire.WhatForward:
		err = cs.forwards.confirmed(m.Ref)
	case wire.WhatRest:
		if cs.settled {
			err = errRestTwice
		}
		cs.settled = true
	}
	c.announceLocked()
	return err
}
