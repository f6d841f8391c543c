package pool

import (
	"errors"
	"fmt"
	"time"
)

// Limits bound a pool, and say for how long and how often a connection is used
// again. Zero fields mean the stated defaults.
//
// In a pair, MaxIdle, IdleTimeout, MaxAge and MaxUses are for the side that hands
// the connections out: the server, with Reverse the client. The other side cannot
// know whether a connection that is idle there has just been handed out here, so
// its constructor refuses them. It learns of what was closed from the socket, within
// 2 s: with Reverse the server's MaxCap needs room for those until then.
type Limits struct {
	// MinCap and MaxCap bound the capacity: how many idle connections a pool that
	// dials aims to keep ready. A server pool refuses connections beyond MaxCap.
	// Connections that are handed out do not count. A Put beyond MaxCap closes the
	// connection ([ClosedFull]), and IdleTimeout leaves MinCap.
	// Defaults: MinCap 32 or MaxCap if that is lower, MaxCap 512 on a client pool;
	// 0 and 1,024 on a server pool; 1 (negative: none) and MaxOpen on a
	// single-ended one.
	MinCap, MaxCap int

	// MaxIdle is for whoever wants fewer idle connections than MaxCap lets in, as a
	// server that knows what its client keeps. Those beyond it are closed about once
	// a second ([ClosedFull]), the ones that have been idle for longest first; new
	// ones are let in all the same. Default: MaxCap.
	MaxIdle int

	// MaxOpen bounds the pool's connections in all: idle, in holders' hands and
	// being dialed or admitted. What takers meet at the bound, WhenFull says; a
	// server's Admit answers [ErrFull]. Default: no bound; on a single-ended pool
	// MaxCap, or 10 when both are 0, and no bound when negative.
	MaxOpen int

	// IdleTimeout closes what has been idle for this long ([ClosedIdle]), but leaves
	// MinCap idle connections. The sweep does it, about once a second. 0: none.
	IdleTimeout time.Duration

	// MaxAge closes a connection that was made this long ago when it is put back,
	// about to be handed out, or idle ([ClosedAge]). One in its holder's hands is
	// left to it. Each connection has a bound of its own, from 80 to 100 % of MaxAge,
	// so that those made together are not renewed together. 0: none.
	MaxAge time.Duration

	// MaxUses is how often a connection is handed out: the Put after the last
	// closes it ([ClosedUses]). 0: no bound.
	MaxUses int

	// Order says which idle connection is handed out next. Default: NewestFirst.
	Order Order

	// AcquireTimeout bounds what a call that asks for a connection waits, beside its
	// context or timeout, from the moment it asked: [ErrTimeout]. 0: none, and 30 s on a
	// single-ended pool; negative: none.
	AcquireTimeout time.Duration

	// MaxWaiters bounds how many wait for a connection at once. Those beyond get
	// [ErrTooManyWaiters] at once. 0: no bound, and 1,024 on a single-ended pool;
	// negative: no bound.
	MaxWaiters int

	// WhenFull says what a taker meets at MaxOpen. Default: WaitWhenFull.
	WhenFull WhenFull
}

// Order is an order of handing out idle connections.
type Order uint8

const (
	// NewestFirst hands out what was put back or made last, which is the most
	// certainly alive. What demand does not need stays idle, for IdleTimeout to close.
	NewestFirst Order = iota

	// OldestFirst hands out what has been idle for longest, so that all are used
	// in turn and none is forgotten by something between the two ends.
	OldestFirst
)

// WhenFull is what happens to a taker who finds no connection idle and the pool
// at MaxOpen.
type WhenFull uint8

const (
	// WaitWhenFull waits for a connection that is put back.
	WaitWhenFull WhenFull = iota

	// FailWhenFull answers [ErrFull] at once. It needs MaxOpen.
	FailWhenFull

	// OverflowWhenFull dials one connection more for this taker, which is never kept:
	// its Put closes it. For single-ended pools. It needs MaxOpen.
	OverflowWhenFull
)

const (
	defaultServerCap = 1024
	defaultClientCap = 512
	defaultMinCap    = 32

	defaultLocalOpen      = 10
	defaultLocalMinCap    = 1
	defaultAcquireTimeout = 30 * time.Second
	defaultMaxWaiters     = 1024
)

// The three functions that follow put a role's defaults in and refuse what cannot
// work. Their errors begin with the field. Afterwards 0 is no bound in every field
// but MaxCap, and so is it in MinCap.

// fillServer is for a server pool; handsOut is false with Reverse.
func (l *Limits) fillServer(handsOut bool) error {
	if err := l.checkPair(handsOut); err != nil {
		return err
	}
	if l.MaxCap == 0 {
		l.MaxCap = max(defaultServerCap, l.MinCap)
	}
	l.dropNegative()
	return l.checkOrder()
}

// fillClient is for a client pool; handsOut is true with Reverse.
func (l *Limits) fillClient(handsOut bool) error {
	if err := l.checkPair(handsOut); err != nil {
		return err
	}
	l.dropNegative()
	return l.fillPlan()
}

// fillLocal is for a single-ended pool.
func (l *Limits) fillLocal() error {
	bounded := l.MaxOpen >= 0
	switch {
	case l.MinCap == 0:
		l.MinCap = defaultLocalMinCap
	case l.MinCap < 0:
		l.MinCap = 0
	}
	if l.AcquireTimeout == 0 {
		l.AcquireTimeout = defaultAcquireTimeout
	}
	if l.MaxWaiters == 0 {
		l.MaxWaiters = defaultMaxWaiters
	}
	l.MaxOpen = max(l.MaxOpen, 0)
	if err := l.checkEach(); err != nil {
		return err
	}
	l.dropNegative()
	switch {
	case bounded && l.MaxOpen == 0 && l.MaxCap == 0:
		l.MaxOpen = max(defaultLocalOpen, l.MinCap)
		l.MaxCap = l.MaxOpen
	case bounded && l.MaxOpen == 0:
		l.MaxOpen = l.MaxCap
	case bounded && l.MaxCap == 0:
		if l.MinCap > l.MaxOpen {
			return fmt.Errorf("MinCap %d exceeds MaxOpen %d", l.MinCap, l.MaxOpen)
		}
		l.MaxCap = l.MaxOpen
	case l.MaxCap == 0:
		l.MaxCap = max(defaultClientCap, l.MinCap)
	}
	if err := l.checkWhenFull(); err != nil {
		return err
	}
	return l.checkOrder()
}

// fillPlan is the part of it that a planner needs, on a pool of a pair.
func (l *Limits) fillPlan() error {
	if err := l.checkEach(); err != nil {
		return err
	}
	if l.MaxCap == 0 {
		l.MaxCap = max(defaultClientCap, l.MinCap)
	}
	if l.MinCap == 0 {
		l.MinCap = min(defaultMinCap, l.idleBound())
	}
	return l.checkOrder()
}

// checkPair refuses what no pool of a pair can do, or not on this side.
func (l *Limits) checkPair(handsOut bool) error {
	if err := l.checkEach(); err != nil {
		return err
	}
	if l.WhenFull == OverflowWhenFull {
		return errors.New("WhenFull is OverflowWhenFull, which is for single-ended pools: the other side of a pair would not know of the connection")
	}
	if err := l.checkWhenFull(); err != nil || handsOut {
		return err
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"MaxIdle", l.MaxIdle > 0},
		{"IdleTimeout", l.IdleTimeout > 0},
		{"MaxAge", l.MaxAge > 0},
		{"MaxUses", l.MaxUses > 0},
	} {
		if f.set {
			return fmt.Errorf("%s is set on the side that takes connections by ID, where one that looks idle may be in use; set it on the other side, which hands them out", f.name)
		}
	}
	return nil
}

// checkEach refuses values that mean nothing, whatever the others are.
func (l *Limits) checkEach() error {
	for _, f := range []struct {
		name     string
		negative bool
		value    any
	}{
		{"MinCap", l.MinCap < 0, l.MinCap},
		{"MaxCap", l.MaxCap < 0, l.MaxCap},
		{"MaxIdle", l.MaxIdle < 0, l.MaxIdle},
		{"MaxOpen", l.MaxOpen < 0, l.MaxOpen},
		{"IdleTimeout", l.IdleTimeout < 0, l.IdleTimeout},
		{"MaxAge", l.MaxAge < 0, l.MaxAge},
		{"MaxUses", l.MaxUses < 0, l.MaxUses},
	} {
		if f.negative {
			return fmt.Errorf("%s is %v; it must not be negative", f.name, f.value)
		}
	}
	if l.Order > OldestFirst {
		return fmt.Errorf("Order is %d; it must be NewestFirst or OldestFirst", l.Order)
	}
	if l.WhenFull > OverflowWhenFull {
		return fmt.Errorf("WhenFull is %d; it must be WaitWhenFull, FailWhenFull or OverflowWhenFull", l.WhenFull)
	}
	return nil
}

func (l *Limits) checkWhenFull() error {
	if l.WhenFull != WaitWhenFull && l.MaxOpen <= 0 {
		return errors.New("WhenFull needs MaxOpen: without it the pool is never full")
	}
	return nil
}

// checkOrder refuses bounds that contradict each other, once MaxCap is known.
func (l *Limits) checkOrder() error {
	switch {
	case l.MinCap > l.MaxCap:
		return fmt.Errorf("MinCap %d exceeds MaxCap %d", l.MinCap, l.MaxCap)
	case l.MaxIdle > 0 && l.MinCap > l.MaxIdle:
		return fmt.Errorf("MinCap %d exceeds MaxIdle %d", l.MinCap, l.MaxIdle)
	case l.MaxOpen > 0 && l.MinCap > l.MaxOpen:
		return fmt.Errorf("MinCap %d exceeds MaxOpen %d", l.MinCap, l.MaxOpen)
	}
	return nil
}

// dropNegative makes 0 of a negative value that says "none".
func (l *Limits) dropNegative() {
	l.AcquireTimeout = max(l.AcquireTimeout, 0)
	l.MaxWaiters = max(l.MaxWaiters, 0)
}

// idleBound is how many connections can be idle and stay so.
func (l *Limits) idleBound() int {
	n := l.MaxCap
	if l.MaxIdle > 0 {
		n = min(n, l.MaxIdle)
	}
	if l.MaxOpen > 0 {
		n = min(n, l.MaxOpen)
	}
	return n
}
