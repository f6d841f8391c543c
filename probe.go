package pool

import (
	"sync"
	"syscall"
)

// liveness is what a look at the socket tells without eating a byte.
type liveness uint8

const (
	livenessUnknown  liveness = iota // no socket to look at
	livenessQuiet                    // open, nothing to read
	livenessReadable                 // open, bytes to read
	livenessDead                     // end of file, an error, or a hang-up
)

// probeCall carries one look through RawConn.Control. Pooled, because the
// closure would otherwise be allocated on every hand-out.
type probeCall struct {
	found liveness
	look  func(fd uintptr)
	poll  pollState
}

var probeCalls = sync.Pool{New: func() any {
	c := new(probeCall)
	c.look = func(fd uintptr) { c.found = c.poll.look(fd) }
	return c
}}

// probe looks at a socket. Control, unlike Read, heeds no deadline, so a
// deadline that a former holder left cannot pass for death.
func probe(raw syscall.RawConn) liveness {
	if raw == nil {
		return livenessUnknown
	}
	c := probeCalls.Get().(*probeCall)
	defer probeCalls.Put(c)
	c.found = livenessUnknown
	if raw.Control(c.look) != nil {
		return livenessDead
	}
	return c.found
}

// fit reports whether e may go to a holder. Where connections are handed out
// bytes on an idle one are a breach of the protocol; where they are taken by ID
// they are the next user's, who came first. Nobody else may use e meanwhile, but
// for what a local pool's Setup built on it, whose verdict counts too.
func (p *Pool) fit(e *entry) bool {
	if e.ownSpoilt() {
		return false
	}
	switch probe(e.raw) {
	case livenessDead:
		return false
	case livenessReadable:
		return !p.handsOut || e.readElsewhere() || e.toldTLSOnly()
	}
	return true
}
