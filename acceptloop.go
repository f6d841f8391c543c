package pool

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	// Pauses after failures to accept, doubling. The longest is how much later
	// than possible service goes on, and ten attempts a second cost nothing.
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = 100 * time.Millisecond

	// calmAfter is how long no failure must have come until a run of them is
	// over. It bounds the lines in the log where each connection that ends is
	// the room for one more.
	calmAfter = 5 * time.Second

	// silentTooLong is how long who connects may say nothing when descriptors
	// are short. Clients speak at once; this is a lost packet more.
	silentTooLong = 2 * time.Second
)

// Serve accepts connections on l and calls handle for each that gets through,
// until ctx ends or l is closed; both are no error. It closes l, ends the
// handshakes in flight, and returns when all their goroutines, and so all calls
// of handle, are gone.
//
// handle runs in the connection's own goroutine and owns conn. The handshake's
// deadline is still set on conn, and ctx ends with it; handle returns soon,
// because the connection's place among those in flight is held until then. When
// no proof is asked, hello is empty but for [KindPool].
//
// When accepting fails, because the process has no file descriptor left for
// instance, Serve says so once, tries again up to ten times a second, and says
// when it is over. Connections that come meanwhile wait in the system's queue.
func (a *Acceptor) Serve(ctx context.Context, l net.Listener, handle func(ctx context.Context, conn net.Conn, hello Hello)) error {
	ctx, cancel := context.WithCancel(ctx)
	closeListener := sync.OnceFunc(func() { l.Close() })
	stop := context.AfterFunc(ctx, closeListener) // wakes Accept
	trouble := &acceptTrouble{log: a.log, addr: l.Addr()}
	var running sync.WaitGroup
	running.Go(func() { a.reportFailures(ctx) }) // ends with ctx
	defer func() {
		stop()
		closeListener() // also waits for the one that ctx started
		cancel()
		running.Wait()
	}()
	for {
		conn, err := l.Accept()
		if err == nil {
			trouble.accepted(ctx, &running)
			a.receive(ctx, conn, &running, handle)
			continue
		}
		if ctx.Err() != nil || listenerClosed(err) {
			return nil
		}
		pause := trouble.failed(err)
		if outOfDescriptors(err) {
			a.places.evictSilent(time.Now().Add(-silentTooLong)) // its descriptor is worth more to who comes
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// listenerClosed tells the end of a listener, of whatever kind, from a failure
// that may pass.
func listenerClosed(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe)
}

// outOfDescriptors: the process, or the whole system, has no file descriptor
// left.
func outOfDescriptors(err error) bool {
	const windowsEMFILE = syscall.Errno(10024)
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, windowsEMFILE)
}

// acceptTrouble tells the log of runs of failures to accept: one line when one
// begins, and one when it is over. It belongs to the loop.
type acceptTrouble struct {
	log   Logger
	addr  net.Addr
	pause time.Duration // after the next failure

	since, last time.Time // first and last failure of the run; zero: there is none
	calm        *acceptCalm
}

// acceptCalm waits, from a success on, whether the run is over.
type acceptCalm struct {
	cancel context.CancelFunc
	done   chan struct{} // closed at the end
	over   bool          // valid when done is closed
}

// failed notes a failure and returns how long to pause.
func (t *acceptTrouble) failed(err error) time.Duration {
	if c := t.calm; c != nil {
		c.cancel()
		<-c.done
		if c.over {
			t.since = time.Time{}
		}
		t.calm = nil
	}
	t.last = time.Now()
	if t.since.IsZero() {
		t.since = t.last
		advice := ""
		if outOfDescriptors(err) {
			advice = "; raise the limit of open files (ulimit -n, LimitNOFILE= of a systemd unit) if this is not an attack"
		}
		Tell(t.log, slog.LevelWarn, "accept_failed", Facts{"listener", t.addr, "error", err},
			"Connections to %v wait: %v; going on as soon as possible%s", t.addr, err, advice)
	}
	pause := max(t.pause, minAcceptPause)
	t.pause = min(2*pause, maxAcceptPause)
	return pause
}

// accepted notes a success.
func (t *acceptTrouble) accepted(ctx context.Context, running *sync.WaitGroup) {
	t.pause = 0
	if t.since.IsZero() || t.calm != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, calmAfter)
	c := &acceptCalm{cancel: cancel, done: make(chan struct{})}
	t.calm = c
	lasted := t.last.Sub(t.since).Round(time.Millisecond)
	running.Go(func() { // ends with ctx
		defer close(c.done)
		defer cancel()
		if <-ctx.Done(); ctx.Err() == context.DeadlineExceeded {
			c.over = true
			Tell(t.log, slog.LevelWarn, "accept_works", Facts{"listener", t.addr, "lasted_seconds", lasted},
				"Connections to %v are accepted again; some had to wait in the %v from the first failure to the last", t.addr, lasted)
		}
	})
}
