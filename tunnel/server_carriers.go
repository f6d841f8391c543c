package tunnel

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/carrier"
)

// maxCarriers bounds the carriers of a session: those that a client keeps, and
// as many whose end it has noticed before us.
const maxCarriers = 4

// serverCarriers are the connections of a session that carry the users who find
// no pooled connection idle.
type serverCarriers struct {
	tasks sync.WaitGroup // their lives

	mu      sync.Mutex
	all     []numbered
	over    bool               // no more come
	changed context.Context    // ends when one becomes usable; nil: nobody waits for that
	tell    context.CancelFunc // ends changed
}

type numbered struct {
	*carrier.Carrier
	number uint16
}

var errCarriers = errors.New("it has as many as it may have, or one with that number")

// carry takes a carrier of the client in.
func (c *serverSession) carry(conn net.Conn, number uint16) {
	all := &c.carriers
	conn.SetDeadline(time.Time{})
	n := numbered{carrier.NewServer(conn, c.server.cfg.Load().Heartbeat, all.announce), number}
	if !all.add(n) {
		pool.Tell(c.server.log, slog.LevelDebug, "carrier_not_admitted", c.ofClient("carrier", number, "error", errCarriers),
			"%s: carrier %d not admitted: %v", c.name(), number, errCarriers)
		conn.Close()
		return
	}
	all.tasks.Go(func() { // ends with the carrier
		err := n.Run()
		all.remove(n)
		pool.Tell(c.server.log, slog.LevelDebug, "carrier_over", c.ofClient("carrier", number, "reason", err),
			"%s: carrier %d is over: %v", c.name(), number, err)
	})
	all.announce()
}

func (all *serverCarriers) add(n numbered) bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.over || len(all.all) >= maxCarriers || slices.ContainsFunc(all.all, func(o numbered) bool { return o.number == n.number }) {
		return false
	}
	all.all = append(all.all, n)
	return true
}

func (all *serverCarriers) remove(n numbered) {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.all = slices.DeleteFunc(all.all, func(o numbered) bool { return o == n })
}

func (all *serverCarriers) list() []numbered {
	all.mu.Lock()
	defer all.mu.Unlock()
	return slices.Clone(all.all)
}

func (all *serverCarriers) count() int {
	all.mu.Lock()
	defer all.mu.Unlock()
	return len(all.all)
}

// announce wakes those who wait for a connection, since there is a carrier.
func (all *serverCarriers) announce() {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.changed != nil {
		all.tell()
		all.changed = nil
	}
}

// change ends when a carrier has become usable.
func (all *serverCarriers) change() context.Context {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.changed == nil {
		all.changed, all.tell = context.WithCancel(context.Background())
	}
	return all.changed
}

// best is the usable one with the fewest streams.
func (all *serverCarriers) best() (best numbered, ok bool) {
	fewest := 0
	for _, n := range all.list() {
		if streams, usable := n.Usable(); usable && (!ok || streams < fewest) {
			best, fewest, ok = n, streams, true
		}
	}
	return best, ok
}

// doubt is for a path on which a pooled connection has died: none is used until
// the client has answered on it.
func (all *serverCarriers) doubt() {
	for _, n := range all.list() {
		n.Doubt()
	}
}

// finish lets the streams in progress end, and the carriers with them.
func (all *serverCarriers) finish() {
	all.mu.Lock()
	all.over = true
	left := slices.Clone(all.all)
	all.mu.Unlock()
	var finishing sync.WaitGroup
	for _, n := range left {
		finishing.Go(func() { n.Finish(0) })
	}
	finishing.Wait()
	all.tasks.Wait()
}
