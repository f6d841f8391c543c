package tunnel

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/carrier"
	"github.com/tunnelpool/pool/internal/wire"
)

// carrierLinger is how long the client leaves it to the server to close a
// carrier whose session is over.
const carrierLinger = time.Second

// clientCarriers are the connections of a session that carry the users whom the
// server found no idle pooled connection for.
type clientCarriers struct {
	client  *Client
	cfg     *ClientConfig // the session's
	beat    time.Duration
	session [wire.SessionSize]byte
	key     pool.Key // the session's
	ctx     context.Context
	stop    context.CancelFunc // dials no more

	mu      sync.Mutex
	dialed  uint16 // numbers that were given
	there   map[uint16]*carrier.Carrier
	changed chan struct{} // closed and replaced when there comes another
	over    bool
}

// keep has as many carriers as the configuration says, until stop.
func (cc *clientCarriers) keep() *sync.WaitGroup {
	cc.ctx, cc.stop = context.WithCancel(cc.client.streams)
	cc.mu.Lock() // count may come before
	cc.there = make(map[uint16]*carrier.Carrier)
	cc.changed = make(chan struct{})
	cc.mu.Unlock()
	tasks := new(sync.WaitGroup)
	if len(cc.cfg.Services) > 0 { // else they carry nobody
		for range cc.cfg.Carriers {
			tasks.Go(cc.keepOne)
		}
	}
	return tasks
}

// keepOne dials one carrier after the other. Pauses are exponential with full
// jitter, as for sessions.
func (cc *clientCarriers) keepOne() {
	log := cc.client.log
	for plan := (schedule{}); cc.ctx.Err() == nil; {
		begun := time.Now()
		on, number, err := cc.dial()
		if err == nil {
			err = cc.run(on, number)
			pool.Tell(log, slog.LevelDebug, "carrier_over", facts{"carrier", number, "reason", err}, "Carrier %d is over: %v", number, err)
		} else if cc.ctx.Err() == nil {
			pool.Tell(log, slog.LevelDebug, "carrier_failed", facts{"error", err}, "No carrier: %v", err)
		}
		now := time.Now()
		pause := time.NewTimer(plan.ended(err, now.Sub(begun), now))
		select {
		case <-cc.ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}

func (cc *clientCarriers) dial() (*carrier.Carrier, uint16, error) {
	ctx, cancel := context.WithTimeout(cc.ctx, handshakeTimeout)
	defer cancel()
	conn, err := cc.cfg.dial(ctx)
	if err != nil {
		return nil, 0, err
	}
	pool.TuneTCP(conn, cc.cfg.KeepAlive)
	number := cc.number()
	sec := cc.cfg.security(cc.key, wire.KindCarrier, wire.AppendCarrier(nil, wire.Carrier{Session: cc.session, Number: number}))
	conn, err = sec.Secure(ctx, conn)
	if err != nil {
		return nil, 0, err
	}
	conn.SetDeadline(time.Time{})
	return carrier.NewClient(conn, cc.beat), number, nil
}

// number is one that no carrier of the session has had for long.
func (cc *clientCarriers) number() uint16 {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	cc.dialed++
	return cc.dialed
}

// run has the carrier at hand while it lives.
func (cc *clientCarriers) run(on *carrier.Carrier, number uint16) error {
	cc.mu.Lock()
	over := cc.over
	cc.there[number] = on
	close(cc.changed)
	cc.changed = make(chan struct{})
	cc.mu.Unlock()
	if over {
		on.Close()
	}
	stop := context.AfterFunc(cc.client.streams, func() { on.Finish(0) }) // ends with the carrier
	defer stop()
	err := on.Run()
	cc.mu.Lock()
	delete(cc.there, number)
	cc.mu.Unlock()
	return err
}

// find is the carrier with that number. settled is false while it may yet come.
func (cc *clientCarriers) find(number uint16) (on *carrier.Carrier, settled bool) {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	on = cc.there[number]
	return on, on != nil || cc.over
}

var errNoCarrier = errors.New("the carrier is gone")

// wait is find for one that may still be in its handshake on this side.
func (cc *clientCarriers) wait(ctx context.Context, number uint16) (*carrier.Carrier, error) {
	for {
		cc.mu.Lock()
		on, changed, over := cc.there[number], cc.changed, cc.over
		cc.mu.Unlock()
		switch {
		case on != nil:
			return on, nil
		case over:
			return nil, errNoCarrier
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, errNoCarrier
		}
	}
}

// letGo ends the carriers when their streams have, for a session that is over.
func (cc *clientCarriers) letGo() {
	cc.stop()
	cc.mu.Lock()
	defer cc.mu.Unlock()
	cc.over = true
	close(cc.changed)
	cc.changed = make(chan struct{})
	for _, on := range cc.there {
		cc.client.tasks.Go(func() { on.Finish(carrierLinger) }) // ends with the carrier
	}
}

// count is how many carriers there are.
func (cc *clientCarriers) count() int {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	return len(cc.there)
}
