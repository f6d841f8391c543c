package testnet

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Where the two namespaces of every link are: documentation addresses, which
// lead nowhere else.
const (
	addrA = "192.0.2.1"
	addrB = "192.0.2.2"
)

// Direction is one way over a link, or both.
type Direction uint8

// The directions. None is what [Link.Drop] takes to let everything pass again.
const (
	AToB Direction = 1 << iota
	BToA
	None Direction = 0
	Both           = AToB | BToA
)

// Link is two namespaces and the path between them. Create it with [New]. All
// methods are safe for concurrent use.
type Link struct {
	A, B *Namespace

	ab, ba *path
}

// Available returns nil where links can be made and filtered, and otherwise
// why not, for a test that skips.
func Available() error {
	l, err := New(0)
	if err != nil {
		return err
	}
	defer l.Close()
	return l.A.Filter()
}

// New makes a link whose packets take oneWay in each direction. The caller
// closes it, after the programs in its namespaces have ended.
func New(oneWay time.Duration) (*Link, error) {
	if oneWay < 0 {
		return nil, fmt.Errorf("testnet: the delay %v is negative", oneWay)
	}
	l := new(Link)
	var err error
	if l.A, err = newNamespace(addrA); err != nil {
		return nil, err
	}
	if l.B, err = newNamespace(addrB); err != nil {
		l.A.close()
		return nil, err
	}
	l.ab, l.ba = newPath(l.A.tun, l.B.tun), newPath(l.B.tun, l.A.tun)
	l.SetDelay(oneWay)
	l.ab.start()
	l.ba.start()
	return l, nil
}

// SetDelay changes how long packets take from now on in each direction. Those
// on their way keep their time, and none overtakes another.
func (l *Link) SetDelay(oneWay time.Duration) {
	l.ab.delay.Store(int64(oneWay))
	l.ba.delay.Store(int64(oneWay))
}

// Drop makes a black hole: until the next call everything in the directions d
// is lost, what is on its way included, and nobody is told.
func (l *Link) Drop(d Direction) {
	l.ab.hole.Store(d&AToB != 0)
	l.ba.hole.Store(d&BToA != 0)
}

// SetLoss loses packets by chance, in both directions: a share of them, from 0
// to 1. Above 0 the kernel cuts what it sends into packets of the link's MTU of
// 1,500 bytes; else it hands over up to 64 KiB at once, as it does to a network
// card that cuts by itself.
func (l *Link) SetLoss(share float64) error {
	if !(share >= 0 && share <= 1) {
		return fmt.Errorf("testnet: the loss %v is no share from 0 to 1", share)
	}
	err := errors.Join(l.A.setLargePackets(share == 0), l.B.setLargePackets(share == 0))
	l.ab.loss.Store(math.Float64bits(share))
	l.ba.loss.Store(math.Float64bits(share))
	return err
}

// Traffic counts the packets of one direction.
type Traffic struct {
	Carried uint64 // delivered
	Lost    uint64 // to a black hole, to chance, or because the queue was full
}

// Stats returns what went over the link in each direction.
func (l *Link) Stats() (ab, ba Traffic) { return l.ab.stats(), l.ba.stats() }

// Close takes the link down and returns when no goroutine of it is left.
// Sockets that are still open in a namespace keep that alive, and reach nobody.
func (l *Link) Close() {
	l.A.close()
	l.B.close()
	l.ab.wait()
	l.ba.wait()
}
