package library

import (
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkBurst has 200 takers come at once to a pool with 64 idle connections,
// of at most 512, over TLS on loopback. Each keeps what it got for 20 ms and
// then closes it, or gives it back where the library can. It reports, as medians
// over the runs, when the last was served, how many got nothing in 10 s, when
// the pool had its 64 again at both ends, whether it had not 10 s later, and how
// many dials were begun:
//
//	go test -run xxx -bench Burst -benchtime 5x ./library
func BenchmarkBurst(b *testing.B) {
	for _, dials := range []struct {
		name string
		as   func(dial) dial
	}{
		{"instant", func(d dial) dial { return d }},
		{"100ms", func(d dial) dial { return slow(d, 100*time.Millisecond) }},
		{"halffail", flaky},
		{"100ms-halffail", func(d dial) dial { return slow(flaky(d), 100*time.Millisecond) }},
	} {
		for _, l := range libraries {
			b.Run(fmt.Sprintf("dials=%s/closed/%s", dials.name, l.name), func(b *testing.B) { bursts(b, l, dials.as, false) })
			if l.giveBack != nil {
				b.Run(fmt.Sprintf("dials=%s/givenback/%s", dials.name, l.name), func(b *testing.B) { bursts(b, l, dials.as, true) })
			}
		}
	}
}

const (
	burstOf   = 200
	burstIdle = 64
	burstMost = 512
	waitLimit = 10 * time.Second
	keepFor   = 20 * time.Millisecond
)

// outcome is what a burst met.
type outcome struct {
	served, whole time.Duration
	failed        int
	broken        int // 1: the pool was not whole again
	dials         int
}

func bursts(b *testing.B, l library, as func(dial) dial, back bool) {
	var all []outcome
	for range b.N {
		all = append(all, burst(b, l, as, back))
	}
	report := func(unit string, of func(outcome) float64) {
		values := make([]float64, len(all))
		for i, o := range all {
			values[i] = of(o)
		}
		slices.Sort(values)
		b.ReportMetric(values[len(values)/2], unit)
	}
	b.ReportMetric(0, "ns/op") // says nothing here
	report("ms-served", func(o outcome) float64 { return float64(o.served.Microseconds()) / 1000 })
	report("not-served", func(o outcome) float64 { return float64(o.failed) })
	report("ms-whole", func(o outcome) float64 { return float64(o.whole.Microseconds()) / 1000 })
	report("not-whole", func(o outcome) float64 { return float64(o.broken) })
	report("dials", func(o outcome) float64 { return float64(o.dials) })
}

// burst runs one on a pair of its own.
func burst(b *testing.B, l library, as func(dial) dial, back bool) outcome {
	var dials atomic.Int64
	n := sockets(b)
	n.dial = counted(as(n.dial), &dials)
	p := l.open(b, n, settings{minCap: burstIdle, maxCap: burstMost, minIvl: 100 * time.Millisecond, maxIvl: time.Second, tls: true})
	defer p.close()
	dials.Store(0)

	var o outcome
	var failed atomic.Int64
	var takers sync.WaitGroup
	start := make(chan struct{})
	for range burstOf {
		takers.Go(func() { // ends after waitLimit and keepFor at the latest
			<-start
			e, err := p.take(waitLimit)
			if err != nil {
				failed.Add(1)
				return
			}
			time.Sleep(keepFor)
			p.end(e, back)
		})
	}
	begun := time.Now()
	close(start)
	takers.Wait()
	o.served = time.Since(begun) - keepFor
	if !p.wholeWithin(burstIdle, waitLimit) {
		o.broken = 1
	}
	o.whole = time.Since(begun)
	o.failed = int(failed.Load())
	o.dials = int(dials.Load())
	return o
}

type dial = func() (net.Conn, error)
