package pool

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"time"
)

// ConnState is where a connection of a pool is.
type ConnState string

const (
	ConnIdle     ConnState = "idle"     // ready to be handed out
	ConnOut      ConnState = "out"      // in its holder's hands
	ConnChecking ConnState = "checking" // local: idle, and being checked just now
)

// ConnInfo describes one connection of a pool.
type ConnInfo struct {
	ID         string
	State      ConnState
	InState    time.Duration // how long it has been idle, checks included, or out
	Age        time.Duration // since it was made
	Uses       int           // hand-outs so far
	Single     bool          // made for its holder alone, by Fresh or beyond MaxOpen
	RemoteAddr net.Addr
}

// Conns lists the pool's connections as they are at one instant, the oldest first.
// It costs time and memory for each of them, unlike [Pool.Stats].
func (p *Pool) Conns() []ConnInfo {
	p.mu.Lock()
	now := time.Now()
	infos := make([]ConnInfo, 0, len(p.byID))
	conns := make(map[string]net.Conn, len(p.byID))
	for _, e := range p.byID {
		if e.state == stateAdmitting {
			continue // not in the pool yet
		}
		infos = append(infos, ConnInfo{
			ID: e.text, State: e.state.public(), InState: now.Sub(e.since), Age: now.Sub(e.born), Uses: int(e.uses), Single: e.single,
		})
		conns[e.text] = e.conn
	}
	p.mu.Unlock()
	for i := range infos { // a method of somebody else's, so not under the lock
		infos[i].RemoteAddr = conns[infos[i].ID].RemoteAddr()
	}
	slices.SortFunc(infos, func(a, b ConnInfo) int {
		return cmp.Or(cmp.Compare(b.Age, a.Age), cmp.Compare(a.ID, b.ID))
	})
	return infos
}

func (s entryState) public() ConnState {
	switch s {
	case stateOut:
		return ConnOut
	case stateChecking:
		return ConnChecking
	}
	return ConnIdle
}

// Healthy answers nil while the pool can serve, or why it cannot: the error of
// [Pool.Err]; on a pool that dials, the last dial's, wrapped, when that failed and
// there is no connection, idle or out; on a server pool with a listener that
// nobody accepts there, because [Pool.Run] is not under way. A pool whose first
// dial is not over is healthy. It costs what [Pool.Stats] costs.
func (p *Pool) Healthy() error {
	p.mu.Lock()
	err, running := p.refusalLocked(), p.running
	if err == nil && p.client != nil && p.client.failure != nil && len(p.byID) == 0 {
		err = fmt.Errorf("pool: no connection, and the last dial failed: %w", p.client.failure)
	}
	p.mu.Unlock()
	if err == nil && p.server != nil && p.server.listener != nil && !running {
		err = fmt.Errorf("pool: nobody accepts on %v: Run is not under way", p.server.listener.Addr())
	}
	return err
}
