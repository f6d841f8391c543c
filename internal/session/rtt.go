package session

import (
	"sync"
	"time"
)

// roundTrip smooths samples as RFC 6298 section 2 does for TCP's
// retransmission timer: alpha 1/8, beta 1/4.
type roundTrip struct {
	mu        sync.Mutex
	srtt, dev time.Duration
}

func (r *roundTrip) sample(d time.Duration) {
	d = max(d, time.Microsecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.srtt == 0 {
		r.srtt, r.dev = d, d/2
		return
	}
	r.dev += ((r.srtt - d).Abs() - r.dev) / 4
	r.srtt += (d - r.srtt) / 8
}

func (r *roundTrip) get() (srtt, dev time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.srtt, r.dev
}
