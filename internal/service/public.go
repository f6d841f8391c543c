package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	// Pauses after failures to accept (a full descriptor table, mostly),
	// doubling. The longest is how much later than possible users are served
	// again, and ten attempts a second cost nothing.
	minPause = 5 * time.Millisecond
	maxPause = 100 * time.Millisecond

	// calmAfter is how long no failure must have come until a run of them is over.
	// It bounds what is said where each user who leaves is the room for another.
	calmAfter = 5 * time.Second
)

// Public is one public port. Its users are strangers.
type Public struct {
	listener net.Listener
	tell     func(Trouble)
}

// Trouble is what there is to tell of accept errors that the loop survives: once
// when a run of them begins, once when it is over.
type Trouble struct {
	Text   string
	Err    error         // nil: it is over
	Lasted time.Duration // from the first error to the last, when it is over
}

// NewPublic takes over a listener. tell is told of trouble. It must not block,
// and is not called after Serve has returned.
func NewPublic(l net.Listener, tell func(Trouble)) *Public {
	return &Public{listener: l, tell: tell}
}

// Addr is where users reach the service.
func (p *Public) Addr() net.Addr { return p.listener.Addr() }

// Serve accepts users and calls handle for each in a goroutine of its own,
// until ctx ends or Close is called; then it waits for all of them. Users that
// come while accepting fails wait in the system's queue.
func (p *Public) Serve(ctx context.Context, handle func(net.Conn)) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { p.listener.Close() })
	var running sync.WaitGroup // users, and who waits for calm
	defer func() {
		stop()
		cancel()
		running.Wait()
	}()
	trouble := acceptTrouble{tell: p.tell}
	for {
		conn, err := p.listener.Accept()
		if err == nil {
			trouble.accepted(ctx, &running)
			running.Go(func() { handle(conn) })
			continue
		}
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		t := time.NewTimer(trouble.failed(err))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// Close stops accepting. Users who are in stay.
func (p *Public) Close() error { return p.listener.Close() }

// acceptTrouble tells of runs of failures to accept. It belongs to the loop.
type acceptTrouble struct {
	tell  func(Trouble)
	pause time.Duration // after the next failure

	since, last time.Time // first and last failure of the run; zero: there is none
	calm        *calm
}

// calm waits, from a success on, whether the run is over.
type calm struct {
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
			advice = "; raise the limit of open files (ulimit -n, LimitNOFILE= of a systemd unit)"
		}
		t.tell(Trouble{Err: err, Text: fmt.Sprintf("new users wait: %v; going on as soon as possible%s", err, advice)})
	}
	pause := max(t.pause, minPause)
	t.pause = min(2*pause, maxPause)
	return pause
}

// accepted notes a success.
func (t *acceptTrouble) accepted(ctx context.Context, running *sync.WaitGroup) {
	t.pause = 0
	if t.since.IsZero() || t.calm != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, calmAfter)
	c := &calm{cancel: cancel, done: make(chan struct{})}
	t.calm = c
	lasted := t.last.Sub(t.since).Round(time.Millisecond)
	running.Go(func() { // ends with ctx
		defer close(c.done)
		defer cancel()
		if <-ctx.Done(); ctx.Err() == context.DeadlineExceeded {
			c.over = true
			t.tell(Trouble{Lasted: lasted, Text: fmt.Sprintf("new users are let in again; some had to wait in the %v from the first failure to the last", lasted)})
		}
	})
}

// outOfDescriptors: the process, or the whole system, has no file descriptor
// left.
func outOfDescriptors(err error) bool {
	const windowsEMFILE = syscall.Errno(10024)
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, windowsEMFILE)
}
