package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// desk is a target that counts what it is asked. A request is everything up to
// the user's end, its answer the request's hash and the request.
type desk struct {
	address string

	mu   sync.Mutex
	seen map[[sha256.Size]byte]int
}

// openDesk opens a desk on listener until the test ends.
func openDesk(t *testing.T, l net.Listener) *desk {
	d := &desk{address: l.Addr().String(), seen: make(map[[sha256.Size]byte]int)}
	serve(t, l, func(c net.Conn) {
		request, err := io.ReadAll(c)
		if err != nil {
			return
		}
		hash := sha256.Sum256(request)
		d.mu.Lock()
		d.seen[hash]++
		d.mu.Unlock()
		c.Write(append(hash[:], request...))
	})
	return d
}

// serve takes each connection of a listener through handle, until the test
// ends.
func serve(t *testing.T, l net.Listener, handle func(net.Conn)) {
	var all sync.WaitGroup
	ctx, end := context.WithCancel(context.Background())
	t.Cleanup(func() {
		end()
		l.Close()
		all.Wait()
	})
	all.Go(func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { // ends with handle, whose connection ends with the test
				defer context.AfterFunc(ctx, func() { c.Close() })()
				defer c.Close()
				handle(c)
			})
		}
	})
}

// listenHere opens a port on loopback.
func listenHere(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

// visit is what one user saw.
type visit struct {
	hash      [sha256.Size]byte
	begun     time.Time
	connected time.Time // zero: it was not
	first     time.Time // byte of the answer
	ended     time.Time
	err       error // nil: the answer came whole
}

// wait is how long the user waited for the first byte.
func (v visit) wait() time.Duration { return v.first.Sub(v.begun) }

func (v visit) took() time.Duration { return v.ended.Sub(v.begun) }

// dialer is where users come from.
type dialer func(ctx context.Context, address string) (net.Conn, error)

func fromHere(ctx context.Context, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

// stamina bounds a visit: longer than any fault lasts that users sit out.
const stamina = time.Minute

// call asks a desk once, from connecting to the end of the answer.
func (dial dialer) call(address string) (v visit) {
	request := make([]byte, 2048)
	rand.Read(request)
	v = visit{hash: sha256.Sum256(request), begun: time.Now()}
	v.err = v.ask(dial, address, request)
	v.ended = time.Now()
	return v
}

func (v *visit) ask(dial dialer, address string, request []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), stamina)
	defer cancel()
	c, err := dial(ctx, address)
	if err != nil {
		return err
	}
	defer c.Close()
	v.connected = time.Now()
	c.SetDeadline(v.begun.Add(stamina))
	if _, err := c.Write(request); err != nil {
		return err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	answer := make([]byte, 1, sha256.Size+len(request))
	if _, err := io.ReadFull(c, answer); err != nil {
		return err
	}
	v.first = time.Now()
	rest, err := io.ReadAll(c)
	if err != nil {
		return err
	}
	if !bytes.Equal(append(answer, rest...), append(v.hash[:], request...)) {
		return errors.New("not the answer to this request")
	}
	return nil
}

// crowd is users who come one after the other, whether or not those before are
// served.
type crowd struct {
	leave context.CancelFunc
	tasks sync.WaitGroup

	mu     sync.Mutex
	visits []visit
	ended  chan struct{} // closed and replaced with every visit that ends
}

// gather begins a crowd of one user per interval.
func gather(every time.Duration, call func() visit) *crowd {
	ctx, leave := context.WithCancel(context.Background())
	c := &crowd{leave: leave, ended: make(chan struct{})}
	c.tasks.Go(func() { // ends with ctx
		tick := time.NewTicker(every)
		defer tick.Stop()
		for ctx.Err() == nil {
			c.tasks.Go(func() { c.add(call()) }) // ends within stamina
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	return c
}

func (c *crowd) add(v visit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.visits = append(c.visits, v)
	close(c.ended)
	c.ended = make(chan struct{})
}

// await returns the visit that is the first to fulfil what is asked of it.
func (c *crowd) await(t *testing.T, what string, ok func(visit) bool) visit {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for looked := 0; ; {
		c.mu.Lock()
		visits, ended := c.visits[looked:], c.ended
		c.mu.Unlock()
		if i := slices.IndexFunc(visits, ok); i >= 0 {
			return visits[i]
		}
		looked += len(visits)
		select {
		case <-ended:
		case <-limit.C:
			c.disperse()
			require.Failf(t, "no such user", "%s; of %d users: %s", what, len(c.visits), outcomes(c.visits))
		}
	}
}

// reach waits until so many visits have ended, on a machine that may have paused.
func (c *crowd) reach(t *testing.T, n int) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		c.mu.Lock()
		visits, ended := len(c.visits), c.ended
		c.mu.Unlock()
		if visits >= n {
			return
		}
		select {
		case <-ended:
		case <-limit.C:
			c.disperse()
			require.Failf(t, "too few users", "%d of %d", visits, n)
		}
	}
}

// disperse ends the crowd and returns all visits, when the last has ended.
func (c *crowd) disperse() []visit {
	c.leave()
	c.tasks.Wait()
	return c.visits
}

// served reports a visit that went well.
func served(v visit) bool { return v.err == nil }

// firstServed is when the first byte of an answer came to any of them.
func firstServed(visits []visit) (first time.Time) {
	for _, v := range visits {
		if served(v) && (first.IsZero() || v.first.Before(first)) {
			first = v.first
		}
	}
	return first
}

// outcomes counts visits by how they ended, for a failure's text.
func outcomes(visits []visit) string {
	counts := make(map[string]int)
	for _, v := range visits {
		if v.err != nil {
			var op *net.OpError
			text := v.err.Error()
			if errors.As(v.err, &op) {
				text = op.Op + ": " + op.Err.Error()
			}
			counts[text]++
		} else {
			counts["served"]++
		}
	}
	return fmt.Sprint(counts)
}

// requireAllServed wants every user to have the right answer, and every request
// to have reached the desk once.
func (d *desk) requireAllServed(t *testing.T, visits []visit) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range visits {
		require.NoError(t, v.err, "a user who came at %v, connected at %v, ended at %v: %s",
			clock(v.begun), clock(v.connected), clock(v.ended), outcomes(visits))
		require.Equal(t, 1, d.seen[v.hash], "times that a request reached the target")
	}
}

// requireOnce wants no request to have reached the desk twice.
func (d *desk) requireOnce(t *testing.T) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, times := range d.seen {
		require.Equal(t, 1, times, "times that a request reached the target")
	}
}

func clock(at time.Time) string { return at.Format("15:04:05.000") }

// waits are the times to the first byte, in order.
func waits(visits []visit) []time.Duration {
	var all []time.Duration
	for _, v := range visits {
		if v.err == nil {
			all = append(all, v.wait())
		}
	}
	slices.Sort(all)
	return all
}

// figures sums up waits for a log line.
func figures(visits []visit) string {
	w := waits(visits)
	if len(w) == 0 {
		return "nobody was served"
	}
	return fmt.Sprintf("%d users, first byte after %v (median), %v (99 of 100), %v (slowest)", len(w),
		round(w[len(w)/2]), round(w[len(w)*99/100]), round(w[len(w)-1]))
}

func round(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

// holdMedian wants the median of what some rounds measured within a bound. One
// round may be late because the machine is busy; most are not.
func holdMedian(t *testing.T, what string, bound time.Duration, rounds []time.Duration) {
	t.Helper()
	slices.Sort(rounds)
	t.Logf("%s: %v; the bound is %v", what, rounds, bound)
	require.LessOrEqual(t, rounds[len(rounds)/2], bound, "%s: %v", what, rounds)
}
