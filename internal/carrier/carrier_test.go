package carrier

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/wire"
)

// payloads reads DATA frames until FIN.
func payloads(t *testing.T, from *Stream) []byte {
	var all []byte
	for {
		typ, b := frame(t, from)
		if typ == wire.FrameFin {
			return all
		}
		if !assert.Equal(t, wire.FrameData, typ) {
			return all
		}
		all = append(all, b...)
	}
}

// TestStreams: many at once, both ways, in frames of all sizes; every byte
// arrives in order on its own stream.
func TestStreams(t *testing.T) {
	server, client := pair(t)
	var all sync.WaitGroup
	for number := uint32(1); number <= 50; number++ {
		s, c := begun(t, server, client, number)
		for _, way := range [][2]*Stream{{s, c}, {c, s}} {
			sent := make([]byte, 300_000)
			rand.NewChaCha8([32]byte{byte(number)}).Read(sent)
			all.Go(func() { // ends with what it sends
				for rest := sent; len(rest) > 0; {
					n := min(len(rest), 1+rand.IntN(100_000))
					send(t, way[0], wire.FrameData, number, rest[:n]...)
					rest = rest[n:]
				}
				send(t, way[0], wire.FrameFin, number)
			})
			all.Go(func() { // ends with FIN
				assert.Equal(t, sha256.Sum256(sent), sha256.Sum256(payloads(t, way[1])))
			})
		}
	}
	all.Wait()
}

// TestPausingReader: a stream that nobody reads keeps a bounded part of what is
// sent to it, and holds up no other.
func TestPausingReader(t *testing.T) {
	server, client := pair(t)
	stuck, unread := begun(t, server, client, 1)
	went := make(chan error, 1)
	go func() { // ends with the stream
		_, err := stuck.Write(wire.AppendFrame(nil, wire.FrameData, 1, make([]byte, 200_000)...))
		went <- err
	}()
	for number := uint32(2); number < 10; number++ {
		s, c := begun(t, server, client, number)
		go send(t, s, wire.FrameData, number, make([]byte, 200_000)...)
		for got := 0; got < 200_000; {
			_, b := frame(t, c)
			got += len(b)
		}
	}
	client.mu.Lock()
	kept := unread.unread.len()
	client.mu.Unlock()
	require.LessOrEqual(t, kept, firstRoom)
	select {
	case err := <-went:
		require.Fail(t, "a write got past a reader that pauses", "%v", err)
	default:
	}
	for got := 0; got < 200_000; {
		_, b := frame(t, unread)
		got += len(b)
	}
	require.NoError(t, <-went)
}

// TestRoomGrows: a stream that is read as it comes may have more on its way,
// up to a bound for one and one for all.
func TestRoomGrows(t *testing.T) {
	server, client := pair(t)
	const streams = 40
	var all sync.WaitGroup
	ends := make([]*Stream, 0, streams)
	for number := uint32(1); number <= streams; number++ {
		s, c := begun(t, server, client, number)
		ends = append(ends, c)
		const size = 3 << 20
		all.Go(func() {
			for range size / pieceSize {
				send(t, s, wire.FrameData, number, make([]byte, pieceSize)...)
			}
		})
		all.Go(func() {
			_, err := io.CopyN(io.Discard, c, size)
			assert.NoError(t, err)
		})
	}
	all.Wait()
	client.mu.Lock()
	grown, sum := 0, 0
	for _, c := range ends {
		grown = max(grown, c.window)
		sum += c.window - firstRoom
	}
	require.Equal(t, sum, client.spared)
	client.mu.Unlock()
	require.Greater(t, grown, firstRoom)
	require.LessOrEqual(t, grown, mostRoom)
	require.LessOrEqual(t, sum, spareRoom)
	for _, c := range ends {
		c.Close()
	}
	client.mu.Lock()
	require.Zero(t, client.spared)
	client.mu.Unlock()
}

// TestCut: a side that leaves before DONE ends the stream for the other, whether
// that reads or writes; the carrier and its other streams go on.
func TestCut(t *testing.T) {
	server, client := pair(t)
	other, otherEnd := begun(t, server, client, 1)
	for number := uint32(2); number < 6; number++ {
		s, c := begun(t, server, client, number)
		leaver, left := s, c
		if number%2 == 0 {
			leaver, left = c, s
		}
		send(t, leaver, wire.FrameData, number, []byte("last words")...)
		leaver.Close()
		typ, b := frame(t, left)
		require.Equal(t, wire.FrameData, typ)
		require.Equal(t, "last words", b)
		_, err := left.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.True(t, left.Broken())
		_, err = left.Write(wire.AppendFrame(nil, wire.FrameData, number, 1))
		require.ErrorIs(t, err, io.ErrClosedPipe)
		_, err = leaver.Read(make([]byte, 1))
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, leaver.SetDeadline(time.Time{}), net.ErrClosed)
		left.Close()
		leaver.Close()
	}
	send(t, other, wire.FrameData, 1, []byte("still here")...)
	_, b := frame(t, otherEnd)
	require.Equal(t, "still here", b)
}

// TestCutWakes: the end of a stream wakes a writer that waits for room, and so
// does the carrier's.
func TestCutWakes(t *testing.T) {
	server, client := pair(t)
	stuck := func(number uint32) (*Stream, chan error) {
		s, c := begun(t, server, client, number)
		went := make(chan error, 1)
		go func() { // ends with the stream
			_, err := s.Write(wire.AppendFrame(nil, wire.FrameData, number, make([]byte, 200_000)...))
			went <- err
		}()
		eventually(t, "the room is used up", func() bool {
			client.mu.Lock()
			defer client.mu.Unlock()
			return c.unread.len() == firstRoom-wire.FrameHeaderSize // START was taken
		})
		return c, went
	}
	c, went := stuck(1)
	c.Close()
	require.ErrorIs(t, <-went, io.ErrClosedPipe)
	_, went = stuck(2)
	client.Close()
	require.ErrorIs(t, <-went, ErrEnded)
	require.ErrorIs(t, server.ended(t), ErrEnded)
	_, err := server.Open(3)
	require.ErrorIs(t, err, ErrEnded)
	_, err = client.Take(3)
	require.ErrorIs(t, err, ErrEnded)
}

// TestDone: after DONE nothing is said of a stream any more.
func TestDone(t *testing.T) {
	conn, server := raw(t, false)
	s, err := server.Open(7)
	require.NoError(t, err)
	send(t, s, wire.FrameStart, 7)
	_, err = conn.Write(wire.AppendFrame(wire.AppendFrame(nil, wire.FrameAck, 7), wire.FrameDone, 7, byte(wire.Keep)))
	require.NoError(t, err)
	typ, _ := frame(t, s)
	require.Equal(t, wire.FrameAck, typ)
	typ, _ = frame(t, s)
	require.Equal(t, wire.FrameDone, typ)
	require.Equal(t, wire.FrameHeader{Type: wire.FrameStart, Stream: 7}, header(t, conn))
	s.Close()
	next, err := server.Open(8)
	require.NoError(t, err)
	send(t, next, wire.FrameStart, 8)
	require.Equal(t, wire.FrameHeader{Type: wire.FrameStart, Stream: 8}, header(t, conn), "nothing between")
	next.Close()
	require.Equal(t, wire.FrameHeader{Type: wire.FrameCut, Stream: 8}, header(t, conn))
}

// TestStartAhead: START may come before the client knows of its stream, which
// is kept for a time and then given up.
func TestStartAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, a := net.Pipe()
		client := run(t, NewClient(a, time.Hour))
		for number := uint32(1); number <= 2; number++ {
			send(t, conn, wire.FrameStart, number)
			send(t, conn, wire.FrameData, number, []byte("hello")...)
		}
		synctest.Wait()
		require.True(t, client.Started(1))
		require.False(t, client.Started(3))
		time.Sleep(claimTime - time.Millisecond)
		c, err := client.Take(1)
		require.NoError(t, err)
		require.Equal(t, wire.FrameStart, header(t, c).Type)
		_, b := frame(t, c)
		require.Equal(t, "hello", b)
		_, err = client.Take(1)
		require.ErrorIs(t, err, ErrProtocol)
		require.Equal(t, wire.FrameHeader{Type: wire.FrameCut, Stream: 2}, header(t, conn), "nobody came for it")
		synctest.Wait()
		require.False(t, client.Started(2))
		require.True(t, client.Started(1))
		client.mu.Lock()
		require.Zero(t, client.waiting)
		require.Zero(t, client.unread)
		client.mu.Unlock()
		conn.Close()
	})
}

// TestDeadlines: reads and writes that wait end with their deadlines, and go on
// without.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, a := net.Pipe()
		server, client := run(t, NewServer(a, time.Hour, func() {})), run(t, NewClient(d, time.Hour))
		s, err := server.Open(1)
		require.NoError(t, err)
		begun := time.Now()
		s.SetReadDeadline(begun.Add(time.Second))
		_, err = s.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, time.Second, time.Since(begun))
		_, err = s.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)

		s.SetReadDeadline(time.Now().Add(time.Minute))
		hurried := make(chan error)
		go func() { // ends with the deadline
			_, err := s.Read(make([]byte, 1))
			hurried <- err
		}()
		synctest.Wait()
		s.SetReadDeadline(time.Unix(1, 0))
		require.ErrorIs(t, <-hurried, os.ErrDeadlineExceeded)
		require.Equal(t, time.Second, time.Since(begun))

		send(t, s, wire.FrameStart, 1)
		c, err := client.Take(1)
		require.NoError(t, err)
		s.SetWriteDeadline(time.Now().Add(2 * time.Second))
		sent := bytes.Repeat([]byte("0123456789"), 10_000)
		_, err = s.Write(wire.AppendFrame(nil, wire.FrameData, 1, sent...))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, 3*time.Second, time.Since(begun))
		s.SetDeadline(time.Time{})
		require.Equal(t, wire.FrameStart, header(t, c).Type)
		_, b := frame(t, c)
		require.Equal(t, string(sent[:len(b)]), b)
	})
}

// TestSilence: a carrier without streams on which nothing comes for three beats
// is dead; one that answers is not, however long nobody uses it. With streams it
// goes on: nobody is put on it until something comes.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, a := net.Pipe()
		server, client := run(t, NewServer(a, time.Second, func() {})), run(t, NewClient(d, time.Second))
		time.Sleep(time.Hour)
		synctest.Wait()
		_, ok := server.Usable()
		require.True(t, ok)
		client.Close()
		require.ErrorIs(t, server.ended(t), ErrEnded)

		for _, isClient := range []bool{false, true} {
			conn, b := net.Pipe()
			mute := NewServer(b, time.Second, func() {})
			if isClient {
				mute = NewClient(b, time.Second)
			}
			go io.Copy(io.Discard, conn) // ends with conn
			begun := time.Now()
			require.ErrorIs(t, run(t, mute).ended(t), ErrSilent)
			require.Equal(t, missedBeats*time.Second, time.Since(begun))
		}

		conn, b := net.Pipe()
		quiet := run(t, NewServer(b, time.Second, func() {}))
		s, err := quiet.Open(1)
		require.NoError(t, err)
		go io.Copy(io.Discard, conn) // ends with conn
		time.Sleep(time.Minute)
		synctest.Wait()
		_, ok = quiet.Usable()
		require.False(t, ok)
		send(t, conn, wire.FrameAck, 1)
		require.Equal(t, wire.FrameAck, header(t, s).Type)
		_, ok = quiet.Usable()
		require.True(t, ok)
		s.Close()
		require.ErrorIs(t, quiet.ended(t), ErrSilent)
	})
}

// TestDoubt: a carrier in doubt is not usable until something has come on it.
func TestDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, a := net.Pipe()
		usable := make(chan struct{}, 1)
		server := run(t, NewServer(a, time.Hour, func() { usable <- struct{}{} }))
		_, ok := server.Usable()
		require.True(t, ok)
		server.Doubt()
		_, ok = server.Usable()
		require.False(t, ok)
		probe := header(t, conn)
		require.Equal(t, wire.FrameProbe, probe.Type)
		send(t, conn, wire.FrameProbe, probe.Stream)
		<-usable
		_, ok = server.Usable()
		require.True(t, ok)
		conn.Close()
	})
}

// TestFull: a server begins only so many streams, and tells before.
func TestFull(t *testing.T) {
	_, server := raw(t, false)
	for number := uint32(1); number <= maxStreams; number++ {
		streams, ok := server.Usable()
		require.True(t, ok)
		require.EqualValues(t, number-1, streams)
		_, err := server.Open(number)
		require.NoError(t, err)
	}
	_, ok := server.Usable()
	require.False(t, ok)
	_, err := server.Open(maxStreams + 1)
	require.ErrorIs(t, err, ErrFull)
}

// TestFinish: a carrier that is let go ends with its last stream, and what was
// sent before arrives.
func TestFinish(t *testing.T) {
	server, client := pair(t)
	s, c := begun(t, server, client, 1)
	gone := make(chan struct{})
	go func() { // ends with the carrier
		server.Finish(0)
		close(gone)
	}()
	go client.Finish(patience) // ends with the carrier
	eventually(t, "no new streams", func() bool { _, ok := server.Usable(); return !ok })
	send(t, c, wire.FrameDone, 1, byte(wire.Keep))
	c.Close()
	typ, _ := frame(t, s)
	require.Equal(t, wire.FrameDone, typ)
	select {
	case <-gone:
		require.Fail(t, "it ended before its last stream")
	default:
	}
	s.Close()
	<-gone
	require.ErrorIs(t, server.ended(t), ErrEnded)
	require.ErrorIs(t, client.ended(t), ErrEnded)
}

// TestFinishFlushes: frames that are sent just before the end are written.
func TestFinishFlushes(t *testing.T) {
	for range 20 {
		server, client := pair(t)
		s, c := begun(t, server, client, 1)
		send(t, c, wire.FrameData, 1, make([]byte, 20_000)...)
		send(t, c, wire.FrameDone, 1, byte(wire.Keep))
		c.Close()
		client.Finish(0)
		_, b := frame(t, s)
		require.Len(t, b, pieceSize)
		_, b = frame(t, s)
		require.Len(t, b, 20_000-pieceSize)
		require.Equal(t, wire.FrameDone, header(t, s).Type)
	}
}

// TestWholeFrames: what is written must be frames.
func TestWholeFrames(t *testing.T) {
	server, _ := pair(t)
	s, err := server.Open(1)
	require.NoError(t, err)
	_, err = s.Write([]byte("GET / HTTP/1.1"))
	require.ErrorIs(t, err, wire.ErrMalformed)
	_, err = s.Write(wire.AppendFrame(nil, wire.FrameData, 1, 1, 2, 3)[:10])
	require.ErrorIs(t, err, ErrProtocol)
}

// TestAwaitRead: whoever waits without a goroutine is called once, for whatever a
// Read would have returned with, and not after it has left.
func TestAwaitRead(t *testing.T) {
	for name, cause := range map[string]func(t *testing.T, server, client running, s, c *Stream){
		"bytes":    func(t *testing.T, _, _ running, s, _ *Stream) { send(t, s, wire.FrameData, 1, 'x') },
		"cut":      func(_ *testing.T, _, _ running, s, _ *Stream) { s.Close() },
		"closed":   func(_ *testing.T, _, _ running, _, c *Stream) { c.Close() },
		"deadline": func(_ *testing.T, _, _ running, _, c *Stream) { c.SetReadDeadline(time.Now().Add(time.Millisecond)) },
		"the end":  func(_ *testing.T, server, _ running, _, _ *Stream) { server.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			server, client := pair(t)
			s, c := begun(t, server, client, 1)
			called := make(chan struct{}, 2)
			await := func() func() bool { return c.AwaitRead(func() { called <- struct{}{} }) }
			require.True(t, await()())
			leave := await()
			require.Empty(t, called)
			cause(t, server, client, s, c)
			for range 2 { // the second finds it so
				select {
				case <-called:
				case <-time.After(patience):
					require.Fail(t, "nobody called")
				}
				require.False(t, leave())
				leave = await()
			}
		})
	}
}
