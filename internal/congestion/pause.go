// Package congestion keeps a connection that many users share from being held up
// by TCP's congestion window. The window counts packets, however small they are,
// and a connection without delays (TCP_NODELAY) makes a packet of every write:
// ten users within a millisecond can use a new connection's window up, and what
// the eleventh has to say waits a round trip.
package congestion

import "time"

const (
	// mostPause bounds what a write may be held back for others to go along.
	mostPause = 5 * time.Millisecond
	// leastPause is what is not worth it: to sleep takes longer.
	leastPause = 200 * time.Microsecond
)

// pause is how long small writes are collected before the next packet, when
// cwnd packets may be on their way and unacked of them are. While less than half
// is used they are not, nor when all is: the system collects then. Between, the
// rest is spread over a quarter of a round trip.
func pause(cwnd, unacked uint32, roundTrip time.Duration) time.Duration {
	if 2*unacked < cwnd || unacked >= cwnd {
		return 0
	}
	p := min(roundTrip/time.Duration(4*(cwnd-unacked)), mostPause)
	if p < leastPause {
		return 0
	}
	return p
}
