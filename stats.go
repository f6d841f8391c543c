package pool

import (
	"cmp"
	"maps"
	"time"
)

// CloseReason says why the pool or a holder closed a connection.
type CloseReason string

const (
	ClosedByHolder   CloseReason = "holder"     // Conn.Close
	ClosedDead       CloseReason = "dead"       // the peer is gone, or sent bytes on an idle connection of a server pool
	ClosedUnpaired   CloseReason = "unpaired"   // client pool: the other end was handed out, nobody took this one within PairTimeout
	ClosedUnfit      CloseReason = "unfit"      // put back with unread bytes, a call in progress, or a direction over
	ClosedFull       CloseReason = "full"       // put back into a full pool, or idle beyond MaxIdle
	ClosedCleaned    CloseReason = "cleaned"    // Clean or Flush
	ClosedIdle       CloseReason = "idle"       // idle for Limits.IdleTimeout
	ClosedAge        CloseReason = "age"        // as old as Limits.MaxAge allows
	ClosedUses       CloseReason = "uses"       // put back after Limits.MaxUses
	ClosedDistrusted CloseReason = "distrusted" // Distrust: no younger than one that was found dead
	ClosedShutdown   CloseReason = "shutdown"   // Drain or Close
	ClosedCheck      CloseReason = "check"      // Check said so
	ClosedDiscarded  CloseReason = "discarded"  // Discard: its holder found it broken
	ClosedSingle     CloseReason = "single"     // made for one holder, by Fresh or beyond MaxOpen
	ClosedMadeWay    CloseReason = "made_way"   // idle, or put back, when another key's takers waited at GroupConfig.MaxOpen
)

// RejectFull counts connections that were secured and proven, and found the
// server pool at its MaxCap or MaxOpen.
const RejectFull RejectReason = "full"

// Stats is a pool's state and its counters since it was made.
// Created = Idle + Checking + Out + the sum of Closed, at every instant.
type Stats struct {
	Idle     int           // ready to be handed out
	Checking int           // local: idle, and being checked just now
	Out      int           // in holders' hands
	Waiting  int           // Gets and Takes that wait now
	Capacity int           // idle connections aimed at (client) or allowed (server)
	Interval time.Duration // between the client's maintenance passes; 0 on a server

	Created   uint64        // connections that entered the pool
	HandedOut uint64        // times one was handed out
	Hits      uint64        // of those, the ones that were idle when they were asked for
	Misses    uint64        // Gets and Takes that found none idle, whether they waited then or not
	Waited    uint64        // of those, the ones that had to wait
	WaitTime  time.Duration // what they waited in sum
	Waits     Histogram     // what each of them waited; those that wait now are not in it
	Timeouts  uint64        // of those that waited, the ones that gave up

	// AcquireTime is what those who were handed a connection had spent since they
	// asked, in sum: waiting, on a check at Get, on a dial of Fresh or beyond MaxOpen.
	// Who finds one idle has it within about a microsecond, which counts as nothing.
	// Divided by HandedOut it is the average cost of getting a connection.
	AcquireTime time.Duration

	Dialing       int    // client, local: dials under way
	Dialed        uint64 // client, local: dials that brought a connection, those of Fresh and beyond MaxOpen included
	DialFailures  uint64 // client, local: dials that did not
	SetupFailures uint64 // local: connections that Setup refused, which is a failed dial too
	Checks        uint64 // times that Check was asked of a connection
	CheckFailures uint64 // local: of those, the ones that failed

	Handshakes int                     // server: connections between accept and admission
	Closed     map[CloseReason]uint64  // connections that left, by reason
	Rejected   map[RejectReason]uint64 // server: connections that never entered, by reason
}

// Add returns both as one, for who shows several pools together. Of Interval there
// is no sum: it is s's, or other's where s has none.
func (s Stats) Add(other Stats) Stats {
	s.Idle += other.Idle
	s.Checking += other.Checking
	s.Out += other.Out
	s.Waiting += other.Waiting
	s.Capacity += other.Capacity
	s.Interval = cmp.Or(s.Interval, other.Interval)
	s.Created += other.Created
	s.HandedOut += other.HandedOut
	s.Hits += other.Hits
	s.Misses += other.Misses
	s.Waited += other.Waited
	s.WaitTime += other.WaitTime
	s.Waits = s.Waits.Add(other.Waits)
	s.Timeouts += other.Timeouts
	s.AcquireTime += other.AcquireTime
	s.Dialing += other.Dialing
	s.Dialed += other.Dialed
	s.DialFailures += other.DialFailures
	s.SetupFailures += other.SetupFailures
	s.Checks += other.Checks
	s.CheckFailures += other.CheckFailures
	s.Handshakes += other.Handshakes
	s.Closed = addCounts(s.Closed, other.Closed)
	s.Rejected = addCounts(s.Rejected, other.Rejected)
	return s
}

// addCounts sums up two maps, in one that is nobody else's.
func addCounts[K comparable](a, b map[K]uint64) map[K]uint64 {
	sum := make(map[K]uint64, len(a)+len(b))
	maps.Copy(sum, a)
	for k, n := range b {
		sum[k] += n
	}
	return sum
}

type counters struct {
	created, handedOut, delivered, misses, waited, timeouts uint64
	setupFailures, checks, checkFailures                    uint64

	acquireTime time.Duration

	waits  Recorder
	closed map[CloseReason]uint64
	full   uint64
}

// Stats returns a consistent snapshot of the pool's own books, and with it the
// front door's counters.
func (p *Pool) Stats() Stats {
	s := Stats{Rejected: map[RejectReason]uint64{}}
	if p.server != nil && p.server.door != nil {
		door := p.server.door.Stats()
		s.Handshakes = door.InFlight
		maps.Copy(s.Rejected, door.Rejected)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Idle = p.idle.len
	s.Checking = p.checking
	s.Out = p.outLocked()
	s.Waiting = p.waiting
	s.Created = p.count.created
	s.HandedOut = p.count.handedOut
	s.Misses = p.count.misses
	s.Waited = p.count.waited
	s.AcquireTime = p.count.acquireTime
	s.Hits = p.count.handedOut - p.count.delivered
	s.Waits = p.count.waits.Histogram()
	s.WaitTime = s.Waits.Sum
	s.Timeouts = p.count.timeouts
	s.SetupFailures, s.Checks, s.CheckFailures = p.count.setupFailures, p.count.checks, p.count.checkFailures
	s.Closed = maps.Clone(p.count.closed)
	if p.count.full > 0 {
		s.Rejected[RejectFull] = p.count.full
	}
	s.Capacity = p.limits.MaxCap
	if d := p.client; d != nil {
		s.Capacity = d.planner.Capacity()
		s.Interval = d.planner.Interval()
		s.Dialing = d.planner.dialing
		s.Dialed = d.dialed
		s.DialFailures = d.failed
	}
	return s
}
