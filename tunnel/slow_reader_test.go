package tunnel

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// What users ask of a slow target with their first byte.
const (
	downloads = 'd' // it says more than any buffer holds
	abandons  = 'a' // the same, and it resets when it is told to
	uploads   = 'u' // it reads nothing until it is told to
	echoes    = 'e'
)

// large is a download that no buffers on the way can hold.
const large = 24 << 20

func largeFile() []byte {
	return bytes.Repeat([]byte("all of it, in order. "), large/21+1)[:large]
}

type slowTarget struct {
	file           []byte
	release, reset chan struct{} // closed: read; reset
}

func newSlowTarget() *slowTarget {
	return &slowTarget{file: largeFile(), release: make(chan struct{}), reset: make(chan struct{})}
}

func (s *slowTarget) serve(c *net.TCPConn) {
	what := make([]byte, 1)
	if _, err := io.ReadFull(c, what); err != nil {
		return
	}
	switch what[0] {
	case downloads:
		c.Write(s.file)
	case abandons:
		written := make(chan struct{})
		go func() { c.Write(s.file); close(written) }() // ends with the reset
		<-s.reset
		reset(c)
		<-written
	case uploads:
		<-s.release
		io.Copy(io.Discard, c)
	case echoes:
		io.Copy(c, c)
	}
}

// writeUntilFull writes until nothing more goes, for a while.
func writeUntilFull(t *testing.T, c *net.TCPConn) (written int) {
	b := make([]byte, 64<<10)
	for {
		c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		n, err := c.Write(b)
		written += n
		if err != nil {
			return written
		}
		require.Less(t, written, 1<<30, "somebody buffers without bound")
	}
}

// TestSlowReaders: users who read nothing of a large answer, and targets that
// read nothing of a large question, cost nobody else time, and the process no
// more memory than their buffers. A user who reads on gets everything.
func TestSlowReaders(t *testing.T) {
	const slow, others = 10, 100
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		target := newSlowTarget()
		h := startServer(t, mode)
		g := startClient(t, h, startTarget(t, target.serve))
		letGo := sync.OnceFunc(func() { close(target.release) })
		t.Cleanup(letGo) // before the target's own
		echoed := func() (p50, most time.Duration) {
			var took []time.Duration
			for i := range others {
				begun := time.Now()
				c := g.dial(t)
				text := fmt.Sprintf("%cuser %d", echoes, i)
				send(t, c, text)
				receive(t, c, text[1:])
				c.Close()
				took = append(took, time.Since(begun))
			}
			slices.Sort(took)
			return took[others/2], took[others-1]
		}
		quietP50, quietMost := echoed()
		heap := func() int64 {
			runtime.GC()
			runtime.GC() // what a sync.Pool has is no stream's, and outlives the first
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		before := heap()
		readers, writers := slowUsers(t, g, slow)
		p50, most := echoed()
		grown := heap() - before
		t.Logf("others answered after %v, at most %v; with %d slow streams after %v, at most %v; heap grown by %d KiB",
			quietP50, quietMost, 2*slow, p50, most, grown>>10)
		require.Less(t, grown, int64(2*slow)*(256<<10), "a slow stream costs more than its buffers")
		eventually(t, func() bool { return h.Stats().Open == 2*slow }, h.log.text)

		// One reads after all.
		readers[0].SetDeadline(time.Now().Add(patience))
		hash := sha256.New()
		n, err := io.Copy(hash, readers[0])
		require.NoError(t, err)
		require.EqualValues(t, large, n)
		want := sha256.Sum256(target.file)
		require.Equal(t, want[:], hash.Sum(nil))

		for _, c := range append(readers, writers...) {
			reset(c)
		}
		letGo()
		eventually(t, func() bool { return h.Stats().Open == 0 && g.Stats().Open == 0 }, h.log.text)
		require.Equal(t, 1, h.log.count("joined"))
	})
}

// slowUsers has count users come who read nothing, and count whose targets do.
// It returns when nothing moves any more.
func slowUsers(t *testing.T, g *guest, count int) (readers, writers []*net.TCPConn) {
	for range count {
		readers = append(readers, asking(t, g, downloads))
		writers = append(writers, asking(t, g, uploads))
	}
	var full sync.WaitGroup
	for _, w := range writers {
		full.Go(func() { writeUntilFull(t, w) })
	}
	full.Wait()
	return readers, writers
}

func asking(t *testing.T, g *guest, what rune) *net.TCPConn {
	c := g.dial(t)
	send(t, c, string(what))
	return c
}

// TestResetsBehindSlowReaders: users who leave with a reset although the target
// reads nothing of what they said, or has nothing to say to one who half-closed;
// and targets that do so although their user reads nothing. No side reads on,
// and yet all of it ends on both.
func TestResetsBehindSlowReaders(t *testing.T) {
	const each = 4
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		t.Parallel()
		target := newSlowTarget()
		h := startServer(t, mode)
		g := startClient(t, h, startTarget(t, target.serve))
		t.Cleanup(func() { close(target.release) }) // before the target's own
		var deaf, silent []*net.TCPConn
		for range each {
			deaf = append(deaf, asking(t, g, abandons))
			silent = append(silent, asking(t, g, uploads))
			require.NoError(t, silent[len(silent)-1].CloseWrite())
		}
		_, writers := slowUsers(t, g, each)
		eventually(t, func() bool { return h.Stats().Open == 4*each && g.Stats().Open == 4*each }, h.log.text)

		for _, c := range append(silent, writers...) {
			reset(c)
		}
		close(target.reset)
		begun := time.Now()
		for limit := begun.Add(2 * patience); ; time.Sleep(tick) { // the protocol's own limits take half of it
			if h.Stats().Open == each && g.Stats().Open == each {
				break // the downloads of users who stay
			}
			require.True(t, time.Now().Before(limit), "%d are open on the server, %d on the client", h.Stats().Open, g.Stats().Open)
		}
		t.Logf("all gone after %v", time.Since(begun).Round(time.Millisecond))
		for _, c := range deaf {
			c.SetDeadline(time.Now().Add(patience))
			_, err := io.Copy(io.Discard, c)
			require.ErrorIs(t, err, syscall.ECONNRESET)
		}
		require.Equal(t, 1, h.log.count("joined"))
	})
}
