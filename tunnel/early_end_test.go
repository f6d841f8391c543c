package tunnel

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/faults"
)

// Ends of a user or a target that come before the hand-off is through.

// swappable is a target that a test gives another manner for each user.
type swappable struct {
	play             atomic.Pointer[func(*net.TCPConn)]
	begun, completed atomic.Int64
}

func (s *swappable) serve(c *net.TCPConn) {
	s.begun.Add(1)
	defer s.completed.Add(1)
	c.SetDeadline(time.Now().Add(patience))
	(*s.play.Load())(c)
}

// earlyEnd is one way to end early: what the target does, and what the user
// does and must see. The user returns before the network is let go on.
type earlyEnd struct {
	name   string
	target func(t *testing.T, c *net.TCPConn)
	user   func(t *testing.T, c *net.TCPConn) (then func())
	// mayBeMissing: the user is gone so early that the target need not hear of it.
	mayBeMissing bool
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func earlyEnds() []earlyEnd {
	answer := make([]byte, 1<<20)
	rand.Read(answer)
	asked := func(question string) func(t *testing.T, c *net.TCPConn) {
		return func(t *testing.T, c *net.TCPConn) {
			if got, err := io.ReadAll(c); err != nil || string(got) != question {
				t.Errorf("the target was asked %q, %v; want %q and an end", got, err, question)
			}
			c.Write(answer)
		}
	}
	wholeAnswer := func(t *testing.T, c *net.TCPConn) func() {
		require.NoError(t, c.CloseWrite())
		return func() {
			got, err := io.ReadAll(c)
			require.NoError(t, err)
			require.True(t, bytes.Equal(answer, got), "%d of %d bytes of the answer", len(got), len(answer))
		}
	}
	nothing := func() {}
	return []earlyEnd{
		{name: "user half-closes", target: asked("sum?"), user: func(t *testing.T, c *net.TCPConn) func() {
			send(t, c, "sum?")
			return wholeAnswer(t, c)
		}},
		{name: "user half-closes without a word", target: asked(""), user: wholeAnswer},
		{name: "user says a word and closes", target: func(t *testing.T, c *net.TCPConn) {
			if got, err := io.ReadAll(c); err != nil || string(got) != "bye" {
				t.Errorf("the target was told %q, %v", got, err)
			}
		}, user: func(t *testing.T, c *net.TCPConn) func() {
			send(t, c, "bye")
			require.NoError(t, c.Close())
			return nothing
		}},
		{name: "user resets", mayBeMissing: true, target: func(t *testing.T, c *net.TCPConn) {
			got, err := io.ReadAll(c)
			if !isReset(err) || !bytes.HasPrefix([]byte("gone"), got) {
				t.Errorf("the target was told %q and saw %v, not a reset", got, err)
			}
		}, user: func(t *testing.T, c *net.TCPConn) func() {
			send(t, c, "gone")
			reset(c)
			return nothing
		}},
		{name: "user half-closes, then resets", mayBeMissing: true, target: func(t *testing.T, c *net.TCPConn) {
			var err error
			for err == nil { // there is nothing to read: an abort is seen by writing
				_, err = c.Write(answer)
			}
			if !isReset(err) {
				t.Errorf("the target saw %v, not a reset", err)
			}
		}, user: func(t *testing.T, c *net.TCPConn) func() {
			send(t, c, "never mind")
			require.NoError(t, c.CloseWrite())
			reset(c)
			return nothing
		}},
		{name: "target half-closes", target: func(t *testing.T, c *net.TCPConn) {
			c.CloseWrite()
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(answer, got) {
				t.Errorf("the target got %d of %d bytes, %v", len(got), len(answer), err)
			}
		}, user: func(t *testing.T, c *net.TCPConn) func() {
			send(t, c, string(answer[:1000]))
			return func() {
				_, err := c.Read(make([]byte, 1))
				require.ErrorIs(t, err, io.EOF)
				send(t, c, string(answer[1000:]))
				require.NoError(t, c.Close())
			}
		}},
		{name: "target resets, user half-closed", target: func(t *testing.T, c *net.TCPConn) { reset(c) },
			user: func(t *testing.T, c *net.TCPConn) func() {
				require.NoError(t, c.CloseWrite())
				return func() {
					_, err := c.Read(make([]byte, 1))
					require.ErrorIs(t, err, syscall.ECONNRESET)
				}
			}},
	}
}

// TestEndsDuringHandOff: half-close and reset, from each side, while the ACK is
// on its way, while the path is held up, and while the hand-off meets dead
// connections. They arrive as what they are, an answer after a half-close is
// whole, and nothing is left behind.
func TestEndsDuringHandOff(t *testing.T) {
	for _, path := range []struct {
		name          string
		oneWay        time.Duration
		begin, goesOn func(*faults.Link)
	}{
		{"far", 100 * time.Millisecond, func(*faults.Link) {}, func(*faults.Link) {}},
		{"held up", time.Millisecond,
			func(l *faults.Link) { l.Stall(0, all) },
			func(l *faults.Link) { time.Sleep(300 * time.Millisecond); l.Stall(0, 0) }}, // longer than ACK is waited for
		{"dead", time.Millisecond,
			func(l *faults.Link) { l.Mute(1, l.Carried()) }, func(*faults.Link) {}},
	} {
		t.Run(path.name, func(t *testing.T) {
			inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
				t.Parallel()
				target := &swappable{}
				h, g, link := startOver(t, mode, startTarget(t, target.serve), path.oneWay, DefaultHeartbeat,
					func(cfg *ClientConfig) { cfg.PoolMin, cfg.PoolMax = 2, 2 })
				for _, end := range earlyEnds() {
					t.Run(end.name, func(t *testing.T) {
						eventually(t, func() bool { return h.Stats().Pools[0].Idle == 2 && g.Stats().Pool.Idle == 2 },
							func() string { return fmt.Sprintf("%+v", h.Stats().Pools) })
						play := func(c *net.TCPConn) { end.target(t, c) }
						target.play.Store(&play)
						begun, streams := target.begun.Load(), h.Stats().Streams
						old := link.Carried()
						path.begin(link)
						came := time.Now()
						user := g.dial(t)
						then := end.user(t, user)
						if end.mayBeMissing { // also the server must not miss it
							eventually(t, func() bool { return h.Stats().Streams > streams }, h.log.text)
						}
						path.goesOn(link)
						then()
						if !end.mayBeMissing {
							eventually(t, func() bool { return target.begun.Load() > begun }, h.log.text)
						}
						user.Close()
						quiet(t, h, g)
						eventually(t, func() bool { return target.begun.Load() == target.completed.Load() },
							func() string { return "the target was not told of the end" })
						require.LessOrEqual(t, target.begun.Load(), begun+1, "the target was dialed more than once")
						t.Logf("over after %v", time.Since(came).Round(time.Millisecond))
						if path.name == "dead" {
							// What gives up on a dead connection does not wait for the end of an abort.
							require.Less(t, time.Since(came), 9*time.Second)
							link.Cut(1, old) // the client cannot know of those that no user met
						}
					})
				}
				require.Equal(t, 1, h.log.count("joined"))
				t.Logf("asked %d times, offered again %d times", h.Stats().Asked, h.Stats().Replays)
				require.Zero(t, h.Stats().NoAck, h.log.tail())
			})
		})
	}
}
