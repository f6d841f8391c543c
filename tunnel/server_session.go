package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/session"
	"github.com/tunnelpool/pool/internal/wire"
)

const (
	// maxServices bounds the services of one client.
	maxServices = 256

	// A client asks for each service and forward once, every registerRetry for
	// those that were denied, and when they change; it keeps to this rate. Twice
	// that is allowed; each costs a line in the log.
	askBurst      = 2 * maxServices
	askRate       = rate.Limit(2*maxServices) / rate.Limit(registerRetry/time.Second)
	registerBurst = 2 * askBurst
	registerRate  = 2 * askRate
)

// serverSession is one control connection of a client, with its pool.
type serverSession struct {
	server    *Server
	publisher *publisher // whose session it is; set when it becomes known
	numbers   *numbering // of its instance; set with publisher
	link      *session.Link
	pool      *pool.Pool
	poolMax   int // of this pool, and of the one for forwards
	carriers  serverCarriers
	forwards  serverForwards
	since     time.Time
	open      atomic.Int64  // streams in progress
	carried   atomic.Uint64 // streams on carriers
	id        [wire.SessionSize]byte
	holder    *holder  // of the key that the client joined with
	poolKey   pool.Key // what its pooled connections prove
	secret    wire.Secret
	who       wire.Join
	remote    net.Addr

	waits         context.Context // ends when waiting is in vain: no stream will be opened
	endWaits      context.CancelFunc
	asking        demand // what the client was told of users that wait
	registers     *rate.Limiter
	curbed        atomic.Bool       // it was denied what the server's configuration does not allow
	registrations chan wire.Message // to registerAll: of services, in order, and Asks
	goodbye       sync.Once         // a side says GoAway at most once
	leaving       bool              // the client said GoAway; handle's own

	questions questions

	mu      sync.Mutex          // guards what follows
	stopped bool                // no stream is opened any more
	refs    map[uint16]*backend // what streams are opened for
	denied  deniedServices
}

// name is the client's, quoted: a peer chose it.
func (c *serverSession) name() string { return quoted(c.who.Name) }

// run is the session's life.
func (c *serverSession) run() {
	s := c.server
	defer s.tasks.Done()
	var background sync.WaitGroup
	background.Go(func() { c.pool.Run(context.Background()) }) // ends with the pool's Close
	background.Go(c.registerAll)                               // ends with the link
	grant := c.holder.grant.Load()
	pool.Tell(s.log, slog.LevelInfo, "client_joined", c.ofClient("address", c.remote, "key", grant.Name, "key_id", grant.Key.ID()),
		"%s at %s joined (key %s)", c.name(), c.remote, grant.logLabel())
	err := c.link.Run(context.Background(), c.handle)
	c.stop() // before its services are held: nothing is opened after
	s.leave(c)
	pool.Tell(s.log, slog.LevelInfo, "client_left", c.ofClient("address", c.remote, "reason", err),
		"%s at %s left: %v", c.name(), c.remote, err)
	background.Go(c.carriers.finish) // ends with their streams
	background.Go(func() { c.forwards.finish(c.holder.streams) })
	c.pool.Drain(c.holder.streams) // streams in progress finish, and their connections close
	c.pool.Close()
	background.Wait()
}

// handle takes the client's messages, one at a time.
func (c *serverSession) handle(m wire.Message) error {
	switch m := m.(type) {
	case wire.Register, wire.Ask:
		return c.queue(m)
	case wire.Forward:
		if !c.registers.Allow() {
			return errRegisters
		}
		c.forward(m)
	case wire.Withdraw:
		if m.What != wire.WhatForward {
			return c.queue(m)
		}
		if !c.registers.Allow() {
			return errRegisters
		}
		c.withdrawForward(m)
	case wire.Open:
		return c.opened(m)
	case wire.Cancel:
		c.numbers.announced.answer(m.Stream, c.link, &c.server.tasks)
	case wire.Canceled:
		return c.canceled(m)
	case wire.GoAway:
		if c.leaving {
			return errGoAwayTwice
		}
		c.leaving = true
		pool.Tell(c.server.log, slog.LevelInfo, "client_stopping", c.ofClient("reason", m.Text), "%s is stopping: %q", c.name(), m.Text)
		c.stop() // first: a port that is being opened meanwhile finds the session over
		c.server.withdraw(c)
	default:
		return fmt.Errorf("%v is not a client's to send", m.Type())
	}
	return nil
}

// queue passes what concerns a service on to registerAll.
func (c *serverSession) queue(m wire.Message) error {
	if !c.registers.Allow() {
		return errRegisters
	}
	select {
	case c.registrations <- m:
		return nil
	default:
		return errRegisters
	}
}

var errRegisters = errors.New("the client registers services too often")

// sayGoodbye tells the client why the session is about to end, unless it has
// been told.
func (c *serverSession) sayGoodbye(m wire.GoAway) {
	c.goodbye.Do(func() { c.link.Send(m) })
}

// stop opens no more streams on this session. Those that wait for one of its
// connections look for its successor.
func (c *serverSession) stop() {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.endWaits()
}

// over reports that no stream will be opened on this session any more.
func (c *serverSession) over() bool {
	select {
	case <-c.link.Done():
		return true
	case <-c.waits.Done():
		return true
	default:
		return false
	}
}
