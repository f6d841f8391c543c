package pool

import (
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// failingListener fails while it is told to, and notes when it was asked.
type failingListener struct {
	*pipeListener
	calls    []time.Time
	failures int // still to come
}

func (l *failingListener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	l.calls = append(l.calls, time.Now())
	if l.failures == 0 {
		return l.pipeListener.Accept()
	}
	l.failures--
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
}

// fail makes the next n calls fail, after the one in progress.
func (l *failingListener) fail(n int) {
	synctest.Wait()
	l.failures = n
}

// times returns when it was asked.
func (l *failingListener) times() []time.Time {
	synctest.Wait()
	return l.calls
}

// takeLine returns the next line above debug level, or "" when there is none
// for the moment.
func (l eventLog) takeLine() string {
	for {
		synctest.Wait()
		select {
		case line := <-l:
			if line.level != "DEBUG" {
				return line.level + " " + line.text
			}
		default:
			return ""
		}
	}
}

// TestAcceptErrors: a full descriptor table never spins, and is told of twice,
// however long it lasts and however often there is room for one.
func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &failingListener{pipeListener: newPipeListener(), failures: 10}
		d := openDoorOn(t, l, AcceptConfig{TLS: TLSPlain})
		start := time.Now()
		come := func() { // one who has to wait until accepting works
			conn := l.dial("192.0.2.1:1")
			_, err := io.ReadFull(conn, make([]byte, len(doorGreeting)))
			require.NoError(t, err)
			conn.Close()
		}
		come()
		var pauses []time.Duration
		calls := l.times()
		for i := range 10 {
			pauses = append(pauses, calls[i+1].Sub(calls[i]))
		}
		const ms = time.Millisecond
		require.Equal(t, []time.Duration{5 * ms, 10 * ms, 20 * ms, 40 * ms, 80 * ms,
			100 * ms, 100 * ms, 100 * ms, 100 * ms, 100 * ms}, pauses, "it spins, or is late when it is over")
		line := d.log.takeLine()
		require.Contains(t, line, "WARN Connections to pipe wait: accept: accept4: too many open files")
		require.Contains(t, line, "raise the limit of open files")

		for range 100 { // room for one, now and then
			time.Sleep(time.Second)
			l.fail(3)
			come() // Accept blocked before the failures were set
			come()
		}
		require.Empty(t, d.log.takeLine(), "one run of errors is one line")
		calls = l.times()
		last := calls[len(calls)-3] // the last failure: two successes came after it
		time.Sleep(calmAfter)
		line = d.log.takeLine()
		require.Contains(t, line, "are accepted again")
		require.Contains(t, line, last.Sub(start).Round(time.Millisecond).String())

		l.fail(1)
		come()
		come()
		require.Contains(t, d.log.takeLine(), "wait: ", "a new run is told of again")
		time.Sleep(2 * calmAfter)
		require.Contains(t, d.log.takeLine(), "are accepted again")
	})
}

// TestServeEndsInTrouble: a pause, and the wait for calm, end with Serve.
func TestServeEndsInTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &failingListener{pipeListener: newPipeListener(), failures: 1}
		d := openDoorOn(t, l, AcceptConfig{TLS: TLSPlain})
		l.dial("192.0.2.1:1").Close()
		require.Contains(t, d.log.takeLine(), "wait: ")
		d.cancel() // while it waits for calm
		synctest.Wait()
		require.Empty(t, d.log.takeLine())

		l = &failingListener{pipeListener: newPipeListener(), failures: 1 << 30}
		d = openDoorOn(t, l, AcceptConfig{TLS: TLSPlain})
		time.Sleep(time.Minute)
		require.Less(t, len(l.times()), 700)
		d.cancel() // in a pause
		synctest.Wait()
		require.Equal(t, 1, strings.Count(d.log.takeLine()+d.log.takeLine(), "wait: "))
	})
}

// TestFullTableTakesFromTheSilent: without a descriptor for who comes, those
// who have said nothing lose theirs, and nobody else does.
func TestFullTableTakesFromTheSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &failingListener{pipeListener: newPipeListener()}
		d := openDoorOn(t, l, AcceptConfig{TLS: TLSPlain, Keys: KnownKeys(NewKey())})
		s := Security{TLS: TLSPlain, Key: NewKey()}
		stalled := &gateConn{Conn: l.dial("192.0.2.1:1"), gate: make(chan struct{})}
		refused := make(chan error, 1)
		go func() {
			_, err := s.Secure(t.Context(), stalled)
			refused <- err
		}()
		_, err := stalled.release(helloHeadSize + nonceSize)
		require.NoError(t, err)
		silent := l.dial("192.0.2.1:2")
		synctest.Wait()
		require.Equal(t, 2, d.Stats().InFlight)

		time.Sleep(silentTooLong)
		l.fail(5) // after the one who comes next
		newcomer := l.dial("192.0.2.1:3")
		_, err = silent.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		time.Sleep(silentTooLong)
		require.Equal(t, 2, d.Stats().InFlight, "who speaks stays, and who has had no time to")
		require.EqualValues(t, 1, d.Stats().Rejected[RejectCap])
		newcomer.Close()
		close(stalled.gate)
		require.ErrorIs(t, <-refused, ErrRefused)
	})
}
