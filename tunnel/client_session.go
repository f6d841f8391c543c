package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

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
	cfg        *ClientConfig // as it was when the session began
	since      time.Time     // it began
	numbers    *numbering    // of the client's instance, at that time
	link       *session.Link
	pool       *pool.Pool
	forwarding *pool.Pool // nil without forwards
	questions  questions  // about streams of forwards
	leaving    bool       // nothing more is announced; guarded by the lock of numbers

	forwardOnce  sync.Once      // starts forwarding
	forwardTasks sync.WaitGroup // that

	carriers *clientCarriers
	local    net.Addr  // the control connection's
	remote   net.Addr  // likewise
	active   tally     // streams in progress
	told     bool      // the server said GoAway; handle's own
	farewell sync.Once // we say it at most once

	services claims[*clientService] // guarded by Client.mu, as the next two
	forwards claims[*forward]
	released bool          // it is to have nothing any more
	settled  bool          // the server has nothing of former sessions any more
	changed  chan struct{} // buffered: what is configured may have changed
	pace     *rate.Limiter // of what claimAll says

	retired  chan struct{} // closed when the server is stopping: another session may begin
	outdated chan struct{} // closed when another session is to take over; see outdateLocked
}

// run publishes the services and serves until the link ends, or until another
// session may begin: because the server says that it stops, or the configuration
// has changed. Then the link lives on beside a next session, until the server ends
// it. When ctx ends it drains first.
func (cs *clientSession) run(ctx context.Context) error {
	c, begun := cs.client, time.Now()
	former := c.setCurrent(cs)
	first := cs.claims() // before the server can speak of them
	var tasks sync.WaitGroup
	if cs.publishes() { // else nobody comes from the server
		tasks.Go(func() { cs.pool.Run(context.Background()) }) // ends with the pool's Close
	}
	tasks.Go(func() { // ends with the link
		former.makeWay(cs)
		cs.claimAll(first)
	})
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
	case <-cs.outdated:
		c.tasks.Go(func() { // ends with the link
			select {
			case err := <-ended:
				c.sessionOver(cs, "connection lost")
				pool.Tell(c.log, slog.LevelDebug, "former_session_over", facts{"error", err}, "The session that was to be replaced is over: %v", err)
			case <-cs.retired:
				c.sessionOver(cs, "the server is stopping")
				<-ended
			}
			c.rouse()
		})
		return errOutdated
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
		err := cs.client.watch(ctx, cs.local, deadAfter(cs.cfg.Heartbeat))
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
	cs.sayGoodbye("the client is stopping")
	cs.client.active.wait(cs.client.streams.Done())
	cs.link.Finish(farewellLimit)
}

// handle takes the server's messages, one at a time.
func (cs *clientSession) handle(m wire.Message) error {
	switch m := m.(type) {
	case wire.Registered:
		return cs.registered(m)
	case wire.Forwarded:
		return cs.granted(m)
	case wire.Withdrawn:
		return cs.withdrawn(m)
	case wire.Open:
		return cs.open(m.Stream, m.Ref, m.User, cs.pooledEnd(m.ID))
	case wire.Carry:
		cs.pool.Overflowed()
		return cs.open(m.Stream, m.Ref, m.User, cs.carriedEnd(m.Carrier, m.Stream))
	case wire.Cancel:
		cs.numbers.announced.answer(m.Stream, cs.link, &cs.client.tasks)
	case wire.Canceled:
		return cs.answeredForwarded(m)
	case wire.Need:
		cs.need(int(m.Count))
	case wire.GoAway:
		if cs.told {
			return errGoAwayTwice
		}
		cs.told = true
		if m.Code == wire.Replaced && cs.isOutdated() {
			return errSucceeded
		}
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
	if served := c.active.count(); served >= cs.cfg.maxOpen() {
		if _, ok := c.crowded.pass(time.Now()); ok {
			pool.Tell(c.log, slog.LevelWarn, "users_waiting", facts{"streams", served},
				"Users wait at the server: %d are being served, as many as there are connections; see the limit of open files (ulimit -n, LimitNOFILE=)", served)
		}
	}
}

// registered books the server's answer for one service.
func (cs *clientSession) registered(m wire.Registered) error {
	c, up := cs.client, m.Code == wire.OK
	addr, reason := "", ""
	if up {
		addr = publicAddr(cs.cfg.Server, m.Addr)
	} else {
		reason = quoteSafe(m.Text)
	}
	c.mu.Lock()
	claim, err := cs.services.answered(m.Ref, m.Code)
	news := claim != nil && c.setStatusLocked(cs, &claim.of.entry, up, addr, reason)
	c.mu.Unlock()
	if claim == nil {
		return err
	}
	to := claim.of.target.Load()
	if up {
		to.isUpAt(m.Addr, cs.remote)
	}
	switch {
	case !news:
	case up:
		c.tasks.Go(func() { cs.tellUp(to.service, addr) }) // ends within warmWait
	default:
		pool.Tell(c.log, slog.LevelWarn, "service_denied", facts{"service", to.service.Name, "port", to.service.Port, "code", m.Code, "reason", m.Text},
			"Service %q is not up: %s%s", to.service.Name, reason, remedy(m.Code))
	}
	return nil
}

// tellUp logs that a service is up once the pool is warm, or warmWait is over.
func (cs *clientSession) tellUp(svc Service, addr string) {
	limit := time.NewTimer(warmWait)
	defer limit.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting && cs.pool.Active() < min(cs.cfg.PoolMin, cs.pool.Capacity()); {
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
