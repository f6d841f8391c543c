package session

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/wire"
)

const beat = 5 * time.Second

func TestBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, beat)
		begun := time.Now()
		var at []time.Duration
		for i := range uint64(20) {
			ping := expect[wire.Ping](t, r)
			require.Equal(t, i+1, ping.Nonce)
			at = append(at, time.Since(begun))
			r.say(t, wire.Pong(ping))
		}
		var want []time.Duration
		for d := time.Duration(0); d <= earlySpan; d += earlyEvery {
			want = append(want, d)
		}
		for d := beat; len(want) < len(at); d += beat {
			want = append(want, d)
		}
		require.Equal(t, want, at)
		r.cancel()
		<-r.ended
	})
}

// TestEarlyPingsAreAnsweredFirst: one is on its way at a time, so that each
// answer is a sample, and a peer that does not answer is not asked more often
// than by beats.
func TestEarlyPingsAreAnsweredFirst(t *testing.T) {
	const slow = 450 * time.Millisecond // the peer's answer
	synctest.Test(t, func(t *testing.T) {
		r := run(t, beat)
		begun := time.Now()
		for i := range uint64(earlySpan / (3 * earlyEvery)) {
			ping := expect[wire.Ping](t, r)
			require.Equal(t, time.Duration(i)*3*earlyEvery, time.Since(begun), "the first tick after the answer")
			time.Sleep(slow)
			r.say(t, wire.Pong(ping))
			synctest.Wait()
			rtt, _ := r.RTT()
			require.InDelta(t, slow, rtt, 5)
		}
		expect[wire.Ping](t, r)
		require.Equal(t, earlySpan, time.Since(begun))
		for i := range 2 { // no answer any more
			expect[wire.Ping](t, r)
			require.Equal(t, time.Duration(i+1)*beat, time.Since(begun))
		}
		r.cancel()
		<-r.ended
	})
}

// TestShortBeatsAreEnough: where they come as often, there is nothing early.
func TestShortBeatsAreEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, earlyEvery)
		begun := time.Now()
		for i := range 30 {
			ping := expect[wire.Ping](t, r)
			require.Equal(t, time.Duration(i)*earlyEvery, time.Since(begun))
			r.say(t, wire.Pong(ping))
		}
		r.cancel()
		<-r.ended
	})
}

func TestSilenceEndsTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, beat)
		r.swallow()
		begun := time.Now()
		err := <-r.ended
		require.ErrorIs(t, err, ErrSilent)
		require.ErrorContains(t, err, "15s")
		require.Equal(t, missedBeats*beat, time.Since(begun))
	})
}

// TestAnyMessageIsLife: no message of a special kind is needed, but a whole
// one is.
func TestAnyMessageIsLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, beat)
		r.swallow()
		begun := time.Now()
		for range 5 {
			time.Sleep(2 * beat)
			r.say(t, wire.Need{Count: 1})
			require.Equal(t, wire.Need{Count: 1}, <-r.heard)
		}
		for _, b := range wire.AppendMessage(nil, wire.Need{Count: 1})[:2] {
			time.Sleep(beat)
			r.peer.Write([]byte{b})
		}
		require.ErrorIs(t, <-r.ended, ErrSilent)
		require.Equal(t, 10*beat+missedBeats*beat, time.Since(begun))
	})
}

func TestRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, beat)
		rtt, dev := r.RTT()
		require.Zero(t, rtt+dev)
		answerAfter := func(d time.Duration) {
			ping := expect[wire.Ping](t, r)
			time.Sleep(d)
			r.say(t, wire.Pong(ping))
			synctest.Wait()
		}
		answerAfter(80 * time.Millisecond)
		rtt, dev = r.RTT()
		require.InDelta(t, 80*time.Millisecond, rtt, 5)
		require.InDelta(t, 10*time.Millisecond, dev, 5)
		answerAfter(120 * time.Millisecond)
		answerAfter(100 * time.Millisecond)
		rtt, dev = r.RTT()
		require.InDelta(t, 100*time.Millisecond, rtt, 5)
		require.InDelta(t, 20*time.Millisecond, dev, 5)

		// Pongs to no ping, to an old one, and twice to one are no samples.
		for _, nonce := range []uint64{0, 1, 2, 3, 99} {
			r.say(t, wire.Pong{Nonce: nonce})
		}
		synctest.Wait()
		again, _ := r.RTT()
		require.Equal(t, rtt, again)
		r.cancel()
		<-r.ended
	})
}

func TestPingIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, beat)
		go r.say(t, wire.Ping{Nonce: 77})
		require.Equal(t, wire.Pong{Nonce: 77}, expect[wire.Pong](t, r))
		require.Empty(t, r.heard, "pings are the link's own business")
		r.cancel()
		<-r.ended
	})
}

func TestPingFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, beat)
		r.swallow()
		sent := 0
		for ; sent < 10*pingBurst; sent++ {
			if _, err := r.peer.Write(wire.AppendMessage(nil, wire.Ping{Nonce: 1})); err != nil {
				break
			}
		}
		require.ErrorIs(t, <-r.ended, ErrFlooding)
		require.InDelta(t, pingBurst, sent, 2)
	})
}

// TestShortestHeartbeat: what a Welcome may ask for must not be a flood.
func TestShortestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		one := runOn(t, a, b, wire.MinHeartbeat, nil)
		two := New(b, wire.MinHeartbeat)
		ended := make(chan error, 1)
		go func() { ended <- two.Run(t.Context(), func(wire.Message) error { return nil }) }()
		time.Sleep(time.Minute)
		select {
		case err := <-one.ended:
			require.NoError(t, err)
		case err := <-ended:
			require.NoError(t, err)
		default:
		}
		one.cancel()
		<-one.ended
		<-ended
	})
}

// TestBacklog: a peer that does not read costs bounded memory.
func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, beat)
		open := wire.Open{Stream: 1, ID: [8]byte([]byte("abcdefgh")), User: strings.Repeat("u", wire.MaxText)}
		size := len(wire.AppendMessage(nil, open))
		sent := 0
		for ended := false; !ended && sent < 10*maxBacklog; sent += size {
			r.Send(open)
			select {
			case <-r.Done():
				ended = true
			default:
			}
		}
		require.ErrorIs(t, <-r.ended, ErrBacklog)
		// One batch is in the writer's hands, another in the queue.
		require.LessOrEqual(t, sent, 2*(maxBacklog+size))
		r.Send(open) // does nothing
		require.LessOrEqual(t, cap(r.pending), 3*maxBacklog)
	})
}

// TestWriteDeadline: a peer that is alive and does not read is gone after three
// beats, also without a backlog.
func TestWriteDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, beat)
		begun := time.Now()
		gone := make(chan struct{})
		go func() { // alive
			defer close(gone)
			for {
				if _, err := r.peer.Write(wire.AppendMessage(nil, wire.Need{Count: 1})); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		err := <-r.ended
		require.ErrorIs(t, err, ErrEnded)
		require.ErrorContains(t, err, "write")
		require.Equal(t, missedBeats*beat, time.Since(begun))
		<-gone
	})
}

// countingConn counts writes and holds the first one until it is let go.
type countingConn struct {
	net.Conn
	hold   chan struct{}
	writes int
}

func (c *countingConn) Write(b []byte) (int, error) {
	c.writes++
	<-c.hold
	return c.Conn.Write(b)
}

func TestCoalescing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		conn := &countingConn{Conn: a, hold: make(chan struct{})}
		r := runOn(t, conn, b, beat, nil)
		synctest.Wait() // the first ping is in Write
		for i := range 100 {
			r.Send(wire.Need{Count: uint16(i + 1)})
		}
		close(conn.hold)
		for i := range 100 {
			require.Equal(t, wire.Need{Count: uint16(i + 1)}, expect[wire.Need](t, r))
		}
		require.Equal(t, 2, conn.writes)
		r.cancel()
		<-r.ended
	})
}

func TestFarewell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, beat)
		for range 50 {
			r.Send(wire.Need{Count: 3})
		}
		done := make(chan struct{})
		go func() {
			r.Send(wire.GoAway{Code: wire.Shutdown, Text: "bye"})
			r.Finish(time.Second)
			close(done)
		}()
		require.Equal(t, wire.GoAway{Code: wire.Shutdown, Text: "bye"}, expect[wire.GoAway](t, r))
		<-done
		require.ErrorIs(t, <-r.ended, ErrEnded)
		for err := error(nil); err != io.EOF; { // a ping may be in between
			_, err = wire.ReadMessage(r.in, nil)
			require.True(t, err == nil || err == io.EOF, "%v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) { // nobody reads
		r := run(t, beat)
		begun := time.Now()
		r.Send(wire.GoAway{Code: wire.Shutdown})
		r.Finish(time.Second)
		require.Equal(t, time.Second, time.Since(begun))
		require.ErrorIs(t, <-r.ended, ErrEnded)
		r.Send(wire.GoAway{Code: wire.Shutdown})
		r.Finish(time.Hour) // ended: returns at once
		require.Equal(t, time.Second, time.Since(begun))
	})
}

func TestEnds(t *testing.T) {
	boom := errors.New("boom")
	synctest.Test(t, func(t *testing.T) { // handle's error
		a, b := net.Pipe()
		r := runOn(t, a, b, beat, boom)
		r.swallow()
		r.say(t, wire.Need{Count: 1})
		require.ErrorIs(t, <-r.ended, boom)
		<-r.Done()
	})
	synctest.Test(t, func(t *testing.T) { // the first reason stays
		r := run(t, beat)
		r.Close(boom)
		r.Close(ErrBacklog)
		require.ErrorIs(t, <-r.ended, boom)
	})
	synctest.Test(t, func(t *testing.T) { // ctx
		r := run(t, beat)
		r.cancel()
		require.ErrorContains(t, <-r.ended, "context canceled")
	})
	synctest.Test(t, func(t *testing.T) { // the peer
		r := run(t, beat)
		r.swallow()
		synctest.Wait() // the first ping is through
		r.peer.Close()
		err := <-r.ended
		require.ErrorIs(t, err, ErrEnded)
		require.ErrorContains(t, err, "closed by the other side")
	})
	synctest.Test(t, func(t *testing.T) { // garbage
		r := run(t, beat)
		r.swallow()
		go r.peer.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		require.ErrorIs(t, <-r.ended, wire.ErrMalformed)
	})
}
