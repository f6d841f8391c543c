package testnet

import (
	"io"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// arrival is a packet as the far side got it.
type arrival struct {
	text  string
	after time.Duration // since the test began
}

// far remembers what arrives.
type far struct {
	begun time.Time
	mu    sync.Mutex
	got   []arrival
}

func (f *far) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, arrival{string(b), time.Since(f.begun)})
	return len(b), nil
}

// onPath runs a test in a bubble, with a path that ends with it.
func onPath(t *testing.T, test func(p *path, send func(string), got func() []arrival)) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		to := &far{begun: time.Now()}
		p := newPath(r, to)
		p.start()
		send := func(text string) {
			_, err := io.WriteString(w, text)
			require.NoError(t, err)
		}
		got := func() []arrival {
			synctest.Wait()
			to.mu.Lock()
			defer to.mu.Unlock()
			return to.got
		}
		test(p, send, got)
		w.Close()
		p.wait()
		require.Zero(t, p.queued.Load())
	})
}

const ms = time.Millisecond

func TestDelay(t *testing.T) {
	onPath(t, func(p *path, send func(string), got func() []arrival) {
		p.delay.Store(int64(20 * ms))
		send("a")
		time.Sleep(5 * ms)
		send("b")
		time.Sleep(14 * ms)
		require.Empty(t, got())
		time.Sleep(20 * ms)
		require.Equal(t, []arrival{{"a", 20 * ms}, {"b", 25 * ms}}, got())
		require.Equal(t, Traffic{Carried: 2}, p.stats())
	})
}

// A packet that was sent later never overtakes, even if its way got shorter.
func TestOrder(t *testing.T) {
	onPath(t, func(p *path, send func(string), got func() []arrival) {
		p.delay.Store(int64(20 * ms))
		send("a")
		synctest.Wait()
		p.delay.Store(int64(ms))
		send("b")
		time.Sleep(30 * ms)
		require.Equal(t, []arrival{{"a", 20 * ms}, {"b", 20 * ms}}, got())
	})
}

// A black hole takes what is on its way, and nothing that is sent after it.
func TestHole(t *testing.T) {
	onPath(t, func(p *path, send func(string), got func() []arrival) {
		p.delay.Store(int64(20 * ms))
		send("on its way")
		time.Sleep(10 * ms)
		p.hole.Store(true)
		send("into the hole")
		time.Sleep(30 * ms)
		p.hole.Store(false)
		send("after")
		time.Sleep(30 * ms)
		require.Equal(t, []arrival{{"after", 60 * ms}}, got())
		require.Equal(t, Traffic{Carried: 1, Lost: 2}, p.stats())
	})
}

func TestLoss(t *testing.T) {
	onPath(t, func(p *path, send func(string), got func() []arrival) {
		p.loss.Store(math.Float64bits(0.5))
		const sent = 2000
		for range sent {
			send("x")
		}
		arrived := len(got())
		require.InDelta(t, sent/2, arrived, sent/10)
		require.EqualValues(t, sent-arrived, p.stats().Lost)
	})
}

// What is on its way is bounded; the rest is lost, and the sender not held up.
func TestQueueIsBounded(t *testing.T) {
	onPath(t, func(p *path, send func(string), got func() []arrival) {
		p.delay.Store(int64(time.Second))
		for range maxQueued + 100 {
			send("x")
		}
		time.Sleep(2 * time.Second)
		require.InDelta(t, maxQueued, len(got()), 1) // one may be out of the queue and waiting
		require.InDelta(t, 100, p.stats().Lost, 1)
	})
	onPath(t, func(p *path, send func(string), got func() []arrival) {
		p.delay.Store(int64(time.Second))
		large := string(make([]byte, 64<<10))
		for range maxQueuedBytes/len(large) + 10 {
			send(large)
		}
		time.Sleep(2 * time.Second)
		require.Len(t, got(), maxQueuedBytes/len(large))
		require.EqualValues(t, 10, p.stats().Lost)
	})
}
