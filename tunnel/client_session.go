package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/session"
	"github.com/tunnelpool/pool/internal/wakeup"
	"github.com/tunnelpool/pool/internal/wire"
)

const (
	// registerRetry is when a service is asked for again whose denial may pass.
	registerRetry = 10 * time.Second

	// warmWait bounds how long the news that a service is up waits for the
	// pool, so that it can tell how warm it is.
	warmWait = 2 * time.Second
)

// clientSession is one control connection with its pool.
type clientSession struct {
	client     *Client
	since      time.Time
	instance   [16]byte // the client's, at that time
	link       *session.Link
	pool       *pool.Pool
	forwarding *pool.Pool // nil without forwards
	questions  questions  // about streams of forwards
	leaving    bool       // nothing more is announced; guarded by the lock of Client.numbers

	forwardOnce  sync.Once      // starts forwarding
	forwardTasks sync.WaitGroup // that

	carriers *clientCarriers
	local    net.Addr                      // the control connection's
	remote   net.Addr                      // likewise
	final    [2 * maxServices]atomic.Bool  // services and forwards, as in Client.status, whose denial will not pass in this session
	asked    [2 * maxServices]atomic.Int32 // Registers and Forwards that the server has not answered
	told     bool                          // the server said GoAway; handle's own

	retired chan struct{} // closed when the server is stopping: another session may begin
}

// run publishes the services and serves until the link ends, or the server
// says that it stops: then the link lives on beside a next session, until the
// server ends it. When ctx ends it drains first.
func (cs *clientSession) run(ctx context.Context) error {
	c, begun := cs.client, time.Now()
	c.setCurrent(cs, "waiting for the server's answer")
	var tasks sync.WaitGroup
	if len(c.cfg.Services) > 0 { // else nobody comes from the server
		tasks.Go(func() { cs.pool.Run(context.Background()) }) // ends with the pool's Close
	}
	tasks.Go(func() { cs.registerAll() })  // ends with the link
	tasks.Go(func() { cs.drainWith(ctx) }) // ends with the link
	tasks.Go(cs.watch)                     // ends with the link
	carriers := cs.carriers.keep()         // they end with their streams, once they are let go
	ended := make(chan error, 1)
	c.tasks.Go(func() { // ends with the link and the streams
		ended <- cs.link.Run(context.Background(), cs.handle) // drainWith ends it
		// Streams in progress outlive the session: they finish, and their
		// connections close when they are put back.
		cs.carriers.letGo()
		if cs.forwarding != nil {
			tasks.Go(func() { // ends with its streams
				cs.forwarding.Drain(c.streams)
				cs.forwarding.Close()
			})
		}
		cs.pool.Drain(c.streams)
		cs.pool.Close()
		carriers.Wait()
		tasks.Wait()
		cs.forwardTasks.Wait()
	})
	select {
	case err := <-ended:
		c.sessionOver(cs, "connection lost")
		return err
	case <-cs.retired:
		c.sessionOver(cs, "the server is stopping")
		c.tasks.Go(func() { // ends with the link
			err := <-ended
			pool.Tell(c.log, slog.LevelDebug, "old_connection_over", facts{"reason", err}, "The connection to the server that is stopping is over: %v", err)
			if time.Since(begun) >= steadySession { // else it is not chased
				c.rouse() // the next server may be there
			}
		})
		return errStopping
	}
}

// watch gives the session up when this machine tells that its connections are
// lost: an address that is gone for sure, a sleep when the server does not
// answer after it.
func (cs *clientSession) watch() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() { // ends with the link
		<-cs.link.Done()
		stop()
	}()
	for {
		err := cs.client.watch(ctx, cs.local, deadAfter(cs.client.cfg.Heartbeat))
		if errors.Is(err, wakeup.ErrSlept) && alive(ctx, cs.link) {
			continue
		}
		cs.link.Close(err) // which ended it, if the link is over
		return
	}
}

var errStopping = errors.New("the server is stopping")

// drainWith waits for ctx to end, tells the server, keeps the link until the
// streams have ended, and ends it once the goodbye is written.
func (cs *clientSession) drainWith(ctx context.Context) {
	select {
	case <-cs.link.Done():
		return
	case <-ctx.Done():
	}
	cs.leave()
	cs.link.Send(wire.GoAway{Code: wire.Shutdown, Text: "the client is stopping"})
	cs.client.active.wait(cs.client.streams.Done())
	cs.link.Finish(farewellLimit)
}

// registerAll asks for every service and forward, and again for those whose denial may
// pass.
func (cs *clientSession) registerAll() {
	t := time.NewTicker(registerRetry)
	defer t.Stop()
	for {
		for i, s := range cs.client.Services() {
			if !s.Up && !cs.final[i].Load() {
				svc := cs.client.cfg.Services[i]
				cs.asked[i].Add(1)
				sources, _ := svc.sources() // checkServices has seen to it
				cs.link.Send(wire.Register{Ref: uint16(i), Network: svc.network(), Port: svc.Port, Bind: svc.Bind, Name: svc.Name, Group: svc.Group, Sources: sources})
			}
		}
		for i, f := range cs.client.Forwards() {
			if at := len(cs.client.cfg.Services) + i; !f.Up && !cs.final[at].Load() {
				cs.asked[at].Add(1)
				cs.link.Send(cs.client.forwardRequest(i))
			}
		}
		select {
		case <-cs.link.Done():
			return
		case <-cs.retired:
			return
		case <-t.C:
		}
	}
}

// handle takes the server's messages, one at a time.
func (cs *clientSession) handle(m wire.Message) error {
	switch m := m.(type) {
	case wire.Registered:
		return cs.registered(m)
	case wire.Forwarded:
		return cs.granted(m)
	case wire.Open:
		return cs.open(m.Stream, m.Ref, m.User, cs.pooledEnd(m.ID))
	case wire.Carry:
		cs.pool.Overflowed()
		return cs.open(m.Stream, m.Ref, m.User, cs.carriedEnd(m.Carrier, m.Stream))
	case wire.Cancel:
		cs.client.announced.answer(m.Stream, cs.link, &cs.client.tasks)
	case wire.Canceled:
		return cs.answeredForwarded(m)
	case wire.Need:
		cs.need(int(m.Count))
	case wire.GoAway:
		if cs.told {
			return errGoAwayTwice
		}
		cs.told = true
		pool.Tell(cs.client.log, slog.LevelInfo, "server_goodbye", facts{"code", m.Code, "reason", m.Text}, "The server says goodbye: %s", quoteSafe(m.Text))
		if m.Code == wire.Replaced {
			return errReplaced
		}
		cs.leave()
		cs.carriers.stop()
		cs.pool.Drain(closedContext) // nothing new; streams in progress finish
		if cs.forwarding != nil {
			cs.forwarding.Drain(closedContext)
		}
		close(cs.retired)
	default:
		return fmt.Errorf("%v is not a server's to send", m.Type())
	}
	return nil
}

// need dials for users who wait at the server.
func (cs *clientSession) need(count int) {
	c := cs.client
	cs.pool.Demand(count)
	if served := c.active.count(); served >= c.maxOpen() {
		if _, ok := c.crowded.pass(time.Now()); ok {
			pool.Tell(c.log, slog.LevelWarn, "users_waiting", facts{"streams", served},
				"Users wait at the server: %d are being served, as many as there are connections; see the limit of open files (ulimit -n, LimitNOFILE=)", served)
		}
	}
}

// registered books the server's answer for one service.
func (cs *clientSession) registered(m wire.Registered) error {
	c := cs.client
	if int(m.Ref) >= len(c.cfg.Services) {
		return fmt.Errorf("the server answers for service %d, which we do not have", m.Ref)
	}
	if cs.asked[m.Ref].Add(-1) < 0 {
		return fmt.Errorf("the server answers for service %d, which we did not ask about", m.Ref)
	}
	svc := c.cfg.Services[m.Ref]
	if m.Code != wire.OK {
		cs.final[m.Ref].Store(!mayPass(m.Code))
		if c.setStatus(cs, int(m.Ref), false, "", quoteSafe(m.Text)) {
			pool.Tell(c.log, slog.LevelWarn, "service_denied", facts{"service", svc.Name, "port", svc.Port, "code", m.Code, "reason", m.Text},
				"Service %q is not up: %s%s", svc.Name, quoteSafe(m.Text), remedy(m.Code))
		}
		return nil
	}
	addr := publicAddr(c.cfg.Server, m.Addr)
	c.targets[m.Ref].isUpAt(m.Addr, cs.remote)
	if c.setStatus(cs, int(m.Ref), true, addr, "") {
		c.tasks.Go(func() { cs.tellUp(svc, addr) }) // ends within warmWait
	}
	return nil
}

// tellUp logs that a service is up once the pool is warm, or warmWait is over.
func (cs *clientSession) tellUp(svc Service, addr string) {
	limit := time.NewTimer(warmWait)
	defer limit.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting && cs.pool.Active() < min(cs.client.cfg.PoolMin, cs.pool.Capacity()); {
		select {
		case <-tick.C:
		case <-limit.C:
			waiting = false
		case <-cs.link.Done():
			return
		}
	}
	rtt, _ := cs.link.RTT()
	warm := cs.pool.Active()
	pool.Tell(cs.client.log, slog.LevelInfo, "service_up",
		facts{"service", svc.Name, "network", svc.Network, "public", addr, "target", svc.Target, "warm", warm, "round_trip_seconds", rtt},
		"Service %q is up: %s leads to %s (%d connections warm, round trip %v)",
		svc.Name, onNetwork(svc.network(), addr), onNetwork(svc.network(), svc.Target), warm, rtt.Round(10*time.Microsecond))
}

// publicAddr is where users reach a service, as far as this side can tell: the
// server's bound address, with the server's own host for a wildcard. What is no
// address is quoted: it is the server's word, and goes into the log.
func publicAddr(server, bound string) string {
	host, port, err := net.SplitHostPort(bound)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return strconv.Quote(bound)
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host, _, _ = net.SplitHostPort(server)
	}
	return net.JoinHostPort(host, port)
}

var errGoAwayTwice = errors.New("the other side said goodbye twice")

var errReplaced = errors.New("another client joined with our identity; two on one machine need a --state-dir each, and a copied state directory must lose its file 'identity'")

// closedContext has ended: a Drain with it stops the pool and waits for
// nothing.
var closedContext = func() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("not waited for"))
	return ctx
}()
