package traffic

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// tally gathers what users met. It is safe for concurrent use.
type tally struct {
	mu  sync.Mutex
	out Outcome
}

func (t *tally) add(latency time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.fail(err)
		return
	}
	t.out.Served++
	t.out.Latencies = append(t.out.Latencies, latency)
}

func (t *tally) fail(err error) {
	t.out.Failed++
	if t.out.Failure == "" {
		t.out.Failure = err.Error()
	}
}

// warmOperations come before those that count, so that what is made once (a
// route, a thread, a buffer) is there.
const warmOperations = 3

func operations(l Load, warm func()) Outcome {
	for range min(warmOperations, l.Users) {
		_, _ = operation(l.Address) // a failure will be counted soon enough
	}
	warm()
	var t tally
	var next atomic.Int64
	var workers sync.WaitGroup
	begun := time.Now()
	for range l.Workers {
		workers.Go(func() { // ends with the last user
			for next.Add(1) <= int64(l.Users) {
				t.add(operation(l.Address))
			}
		})
	}
	workers.Wait()
	t.out.Elapsed = time.Since(begun)
	return t.out
}

func burst(l Load, warm func()) Outcome {
	warm()
	var t tally
	var users sync.WaitGroup
	start := make(chan struct{})
	for range l.Users {
		users.Go(func() { // ends with its operation
			<-start
			t.add(operation(l.Address))
		})
	}
	begun := time.Now()
	close(start)
	users.Wait()
	t.out.Elapsed = time.Since(begun)
	return t.out
}

func sustained(l Load, warm func()) Outcome {
	var t tally
	var served atomic.Int64
	var workers sync.WaitGroup
	stop := make(chan struct{})
	for range l.Workers {
		workers.Go(func() { // ends with stop
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := operation(l.Address); err != nil {
					t.add(0, err)
					continue
				}
				served.Add(1)
			}
		})
	}
	out := timed(l, warm, &served)
	close(stop)
	workers.Wait()
	out.Served = int(out.Bytes) // timed counts whatever it is given
	out.Bytes = 0
	out.Failed, out.Failure = t.out.Failed, t.out.Failure
	return out
}

// timed waits for the warm-up and for the counted part, and tells how far the
// counter went in the latter.
func timed(l Load, warm func(), counter *atomic.Int64) Outcome {
	time.Sleep(l.Warmup)
	warm()
	begun, from := time.Now(), counter.Load()
	time.Sleep(l.Duration)
	return Outcome{Bytes: counter.Load() - from, Elapsed: time.Since(begun)}
}

func bulk(l Load, warm func()) Outcome {
	want := byte(wantDown)
	if l.Kind == Upload {
		want = wantUp
	}
	var t tally
	var moved atomic.Int64
	var streams sync.WaitGroup
	var conns []net.Conn
	for range l.Workers {
		c, err := open(l.Address, want)
		if err != nil {
			t.add(0, err)
			continue
		}
		c.SetDeadline(time.Time{})
		conns = append(conns, c)
		streams.Go(func() { move(c, want, &moved, &t) }) // ends with c
	}
	out := timed(l, warm, &moved)
	for _, c := range conns {
		c.Close()
	}
	streams.Wait()
	out.Failed, out.Failure = t.out.Failed, t.out.Failure
	return out
}

// move reads or writes until the connection is closed here. An end from the
// other side is a failure.
func move(c net.Conn, want byte, moved *atomic.Int64, t *tally) {
	step := c.Read
	if want == wantUp {
		step = c.Write
	}
	buf := make([]byte, bulkBuffer)
	for {
		n, err := step(buf)
		moved.Add(int64(n))
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				t.add(0, err)
			}
			return
		}
	}
}

// warmEchoes come before those that count.
const warmEchoes = 20

func echoes(l Load, warm func()) Outcome {
	var t tally
	c, err := open(l.Address, wantEcho)
	if err != nil {
		t.add(0, err)
		warm()
		return t.out
	}
	defer c.Close()
	var ended time.Time
	begun := time.Now()
	for i := -warmEchoes; ; i++ {
		sent := time.Now()
		if i == 0 {
			warm()
			sent = time.Now()
			begun, ended = sent, sent.Add(l.Duration)
		}
		c.SetDeadline(sent.Add(Patience))
		err := ask(c, wantEcho)
		now := time.Now()
		if i < 0 && err != nil {
			warm()
		}
		if i >= 0 || err != nil {
			t.add(now.Sub(sent), err)
		}
		if err != nil || (i >= 0 && now.After(ended)) {
			t.out.Elapsed = now.Sub(begun)
			return t.out
		}
	}
}

func hold(l Load, warm func()) (Outcome, []net.Conn) {
	warm()
	var t tally
	var mu sync.Mutex // guards held
	var held []net.Conn
	var next atomic.Int64
	var workers sync.WaitGroup
	begun := time.Now()
	for range l.Workers {
		workers.Go(func() { // ends with the last user
			for next.Add(1) <= int64(l.Users) {
				came := time.Now()
				c, err := open(l.Address, wantEcho)
				t.add(time.Since(came), err)
				if err == nil {
					c.SetDeadline(time.Time{})
					mu.Lock()
					held = append(held, c)
					mu.Unlock()
				}
			}
		})
	}
	workers.Wait()
	t.out.Elapsed = time.Since(begun)
	return t.out, held
}
