package pool

import (
	"net"
	"time"
)

// suspectAge is from which time in the pool on a silent death says something
// of others too. What was proven less than this ago did not die of idleness: a
// lost packet or a busy peer is the likelier cause.
const suspectAge = time.Second

// suspectSlack is how much later than the dead one a suspect may have been
// proven on the client role. Each end dates a proof when it learns of it, the
// client up to a round trip apart from the server; what the server closes for
// being as old, and the client would keep, would look ready here and be gone
// there.
const suspectSlack = suspectAge / 2

// Distrust closes the connection with that ID, wherever it is, because it was
// found dead without a sign from its socket. If it was last proven alive a
// second or more ago, it takes with it every idle connection that has not been
// proven since: what killed the one, a middlebox that forgot its flows, killed
// those too. A connection is proven when it enters the pool or is put back,
// and on a client pool while it holds unread bytes; a client pool also closes
// what was proven up to half a second later, since the two ends of the pair
// date proofs apart.
func (p *Pool) Distrust(id ID) {
	now := time.Now()
	p.mu.Lock()
	dead := p.byID[id]
	if dead == nil || dead.state != stateIdle && dead.state != stateOut {
		p.mu.Unlock()
		return
	}
	if dead.state == stateOut {
		dead.holder.retire()
	}
	p.removeLocked(dead, ClosedDistrusted)
	var suspects []sweepItem
	if now.Sub(dead.provenAt) >= suspectAge {
		until := dead.provenAt
		if !p.handsOut {
			until = until.Add(suspectSlack)
		}
		for e := p.idle.oldest; e != nil && !e.provenAt.After(until); e = e.prev {
			suspects = append(suspects, sweepItem{e, e.uses})
		}
	}
	p.mu.Unlock()

	doomed := []net.Conn{dead.conn}
	for _, s := range suspects {
		if !p.handsOut && probe(s.entry.raw) == livenessReadable {
			continue
		}
		p.mu.Lock()
		if s.entry.state == stateIdle && s.entry.uses == s.uses {
			p.removeLocked(s.entry, ClosedDistrusted)
			doomed = append(doomed, s.entry.conn)
		}
		p.mu.Unlock()
	}
	p.mu.Lock()
	p.client.wakeLocked()
	p.mu.Unlock()
	closeAll(doomed)
}

// Peek looks at the connection with that ID, idle or in a holder's hands:
// whether it has bytes that nobody has read from its socket yet. known is false
// for an ID that is not here, or not here yet.
func (p *Pool) Peek(id ID) (hasBytes, known bool) {
	p.mu.Lock()
	e := p.byID[id]
	p.mu.Unlock()
	if e == nil {
		return false, false
	}
	return probe(e.raw) == livenessReadable, true
}
