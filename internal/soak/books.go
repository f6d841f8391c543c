package main

import (
	"fmt"
	"sync"
	"time"
)

// ending is how a question ended at the target.
type ending uint8

const (
	whole   ending = iota
	inOrder        // before it was whole
	cutOff         // by a reset
	tooMuch        // more came than was announced
)

// books hold what every user asked and met, and what reached the target.
type books struct {
	begun time.Time

	mu       sync.Mutex // guards what follows
	times    map[uint64]int
	unnamed  int // connections that the target could not tell whose they were
	served   map[manner]int
	failed   []failed
	cutShort []cutShort
	wrongs   []string
	bytes    int64 // of whole requests, both ways
}

// failed is a visit that went wrong.
type failed struct {
	request
	begun, ended time.Time
	how          failure
	err          error
}

// cutShort is a question that ended in order at the target, and was not whole.
type cutShort struct {
	number uint64 // 0: not even that was in
	at     time.Time
}

func newBooks() *books {
	return &books{begun: time.Now(), times: make(map[uint64]int), served: make(map[manner]int)}
}

// maxWrongs is how many are told of; one is enough to fail.
const maxWrongs = 20

// wrong notes what must never happen, whatever the network does.
func (b *books) wrong(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrongLocked(format, args...)
}

func (b *books) wrongLocked(format string, args ...any) {
	if len(b.wrongs) < maxWrongs {
		b.wrongs = append(b.wrongs, fmt.Sprintf(format, args...))
	}
}

func (b *books) nameless() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unnamed++
}

// truncated notes a question that ended before the target knew its number.
func (b *books) truncated(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cutShort = append(b.cutShort, cutShort{at: at})
}

// arrived notes that a request reached the target.
func (b *books) arrived(r request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.times[r.number]++; b.times[r.number] > 1 {
		b.wrongLocked("request %d (%v) reached the target %d times", r.number, r.manner, b.times[r.number])
	}
}

// heard notes what of it did.
func (b *books) heard(r request, got *checker, end ending) {
	err := got.check(r.number, false)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err != nil:
		b.wrongLocked("the target: %v", err)
	case end == tooMuch:
		b.wrongLocked("request %d (%v): the target got more than was sent", r.number, r.manner)
	case end == inOrder && !r.manner.endsEarly():
		b.cutShort = append(b.cutShort, cutShort{r.number, time.Now()})
	}
}

// outcome notes how a visit went.
func (b *books) outcome(r request, begun time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.served[r.manner]++
		b.bytes += int64(r.up) + int64(r.down)
		if !r.manner.endsEarly() && b.times[r.number] == 0 {
			b.wrongLocked("request %d (%v) was answered and never reached the target", r.number, r.manner)
		}
		return
	}
	how := classify(err)
	if how == foreign {
		b.wrongLocked("request %d (%v): %v", r.number, r.manner, err)
	}
	b.failed = append(b.failed, failed{r, begun, time.Now(), how, err})
}

// verdict is what the books say in the end.
type verdict struct {
	served         map[manner]int
	total, unnamed int
	bytes          int64
	excused        map[string]int // failures that a fault explains, by fault and kind
	wrongs         []string
}

// judge tells failures that a fault explains from those that nothing does.
func (b *books) judge(w *weather) verdict {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := verdict{served: b.served, unnamed: b.unnamed, bytes: b.bytes, excused: make(map[string]int), wrongs: b.wrongs}
	for _, n := range b.served {
		v.total += n
	}
	v.total += len(b.failed)
	note := func(format string, args ...any) {
		if len(v.wrongs) < maxWrongs {
			v.wrongs = append(v.wrongs, fmt.Sprintf(format, args...))
		}
	}
	for _, f := range b.failed {
		if f.how == foreign {
			continue // noted already
		}
		if why, ok := w.excuse(f.how, f.begun, f.ended); ok {
			v.excused[fmt.Sprintf("%s: %s", why, f.how)]++
			continue
		}
		note("request %d (%v), from %.3f s to %.3f s: %s, and no fault explains it: %v", f.number, f.manner,
			f.begun.Sub(b.begun).Seconds(), f.ended.Sub(b.begun).Seconds(), f.how, f.err)
	}
	for _, c := range b.cutShort {
		if why, ok := w.excuse(truncated, c.at, c.at); ok {
			v.excused[fmt.Sprintf("%s: %s", why, truncated)]++
			continue
		}
		note("request %d ended in order at the target at %.3f s, and was not whole", c.number, c.at.Sub(b.begun).Seconds())
	}
	return v
}

// forget begins anew, with the numbers that reached the target.
func (b *books) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.served)
	b.begun, b.unnamed, b.failed, b.cutShort, b.bytes = time.Now(), 0, nil, nil, 0
}
