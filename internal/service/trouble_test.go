package service

import (
	"context"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// scriptedListener accepts what the test sends, and fails as often as it says.
type scriptedListener struct {
	users    chan net.Conn
	closed   chan struct{}
	failures int // still to come
	calls    []time.Time
}

func newScriptedListener(failures int) *scriptedListener {
	return &scriptedListener{users: make(chan net.Conn), closed: make(chan struct{}), failures: failures}
}

func (l *scriptedListener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	l.calls = append(l.calls, time.Now())
	if l.failures > 0 {
		l.failures--
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	select {
	case c := <-l.users:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *scriptedListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *scriptedListener) Addr() net.Addr { return nil }

// fail makes the next n calls fail, after the one in progress.
func (l *scriptedListener) fail(n int) {
	synctest.Wait()
	l.failures = n
}

// TestFullDescriptorTable: while users cannot be accepted the loop does not
// spin; it says so once when that begins and once when it is over, and users
// are served as soon as it is.
func TestFullDescriptorTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newScriptedListener(10)
		told := make(chan Trouble, 10)
		p := NewPublic(l, func(trouble Trouble) { told <- trouble })
		served := make(chan struct{})
		done := serve(t.Context(), p, func(c net.Conn) { c.Close(); served <- struct{}{} })
		come := func() {
			_, c := net.Pipe()
			l.users <- c
			<-served
		}
		come()
		synctest.Wait()
		var pauses []time.Duration
		for i := range 10 {
			pauses = append(pauses, l.calls[i+1].Sub(l.calls[i]))
		}
		const ms = time.Millisecond
		require.Equal(t, []time.Duration{5 * ms, 10 * ms, 20 * ms, 40 * ms, 80 * ms,
			100 * ms, 100 * ms, 100 * ms, 100 * ms, 100 * ms}, pauses)
		begun := <-told
		require.Regexp(t, "^new users wait: accept: accept4: too many open files; .*raise the limit of open files", begun.Text)
		require.ErrorIs(t, begun.Err, syscall.EMFILE)

		for range 100 { // one leaves, one comes
			time.Sleep(time.Second)
			l.fail(2)
			come() // by the call that was waiting
			come()
		}
		require.Empty(t, told, "one run is told of once")
		time.Sleep(calmAfter)
		over := <-told
		require.Regexp(t, "^new users are let in again; some had to wait in the 1m42.145s ", over.Text)
		require.NoError(t, over.Err)
		require.Equal(t, 102145*time.Millisecond, over.Lasted)

		l.fail(1)
		come()
		come()
		require.Contains(t, (<-told).Text, "new users wait: ")
		p.Close()
		<-done // does not wait for calm
		time.Sleep(time.Minute)
		require.Empty(t, told, "nothing is told after the end")
	})
}

// TestEndWhileAcceptFails: ctx ends a pause too.
func TestEndWhileAcceptFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newScriptedListener(1 << 30)
		ctx, cancel := context.WithCancel(t.Context())
		told := 0
		done := serve(ctx, NewPublic(l, func(Trouble) { told++ }), func(net.Conn) {})
		time.Sleep(time.Hour)
		cancel()
		<-done
		require.Equal(t, 1, told)
		require.Less(t, len(l.calls), 36_100)
	})
}
