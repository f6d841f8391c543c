package datagram

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/wire"
)

// recorder is the outside of a Conn under test, and what it is told.
type recorder struct {
	mu        sync.Mutex
	sent      []string
	fail      error
	lost      []error
	leftTimes int
	brokenOff bool
	closes    int
}

func (r *recorder) send(b []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail == nil {
		r.sent = append(r.sent, string(b))
	}
	return r.fail
}

func (r *recorder) left(brokenOff bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leftTimes++
	r.brokenOff = brokenOff
}

func (r *recorder) closed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closes++
}

func (r *recorder) dropped(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost = append(r.lost, why)
}

func testConn(idle time.Duration) (*Conn, *recorder) {
	r := new(recorder)
	return newConn(r, &net.UDPAddr{}, &net.UDPAddr{}, Config{Idle: idle, Dropped: r.dropped}), r
}

func stream(datagrams ...string) (b []byte) {
	for _, d := range datagrams {
		b = wire.AppendDatagram(b, []byte(d))
	}
	return b
}

func TestConnReadsWhatWaits(t *testing.T) {
	c, _ := testConn(time.Minute)
	defer c.Close()
	c.receive([]byte("one"))
	c.receive(nil)
	c.receive([]byte("three"))
	b := make([]byte, 100)
	n, err := c.Read(b)
	require.NoError(t, err)
	require.Equal(t, stream("one", "", "three"), b[:n], "at once")
	c.receive([]byte("one"))
	c.receive([]byte("three"))
	n, err = c.Read(b[:9])
	require.NoError(t, err)
	require.Equal(t, stream("one"), b[:n], "no part of the next")
}

func TestConnSends(t *testing.T) {
	c, r := testConn(time.Minute)
	defer c.Close()
	_, err := c.Write(stream("one", "", "three"))
	require.NoError(t, err)
	b := stream("cut")
	for i := range b {
		_, err := c.Write(b[i : i+1])
		require.NoError(t, err)
	}
	require.Equal(t, []string{"one", "", "three", "cut"}, r.sent)

	r.fail = errors.New("no buffers")
	_, err = c.Write(stream("lost"))
	require.NoError(t, err, "the flow goes on")
	require.Equal(t, []error{r.fail}, r.lost)

	_, err = c.Write([]byte{0xff, 0xff})
	require.ErrorIs(t, err, wire.ErrMalformed)
}

func TestConnDrops(t *testing.T) {
	c, r := testConn(time.Minute)
	defer c.Close()
	for range 1000 {
		c.receive(make([]byte, 1400))
	}
	require.Greater(t, len(r.lost), 200)
	for _, why := range r.lost {
		require.Equal(t, ErrSlow, why)
	}
}

// TestConnIdle: silence both ways ends a flow, and each way alone does not.
func TestConnIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := testConn(time.Minute)
		begun := time.Now()
		for range 3 {
			time.Sleep(40 * time.Second)
			c.receive([]byte("in"))
			time.Sleep(40 * time.Second)
			c.Write(stream("out"))
		}
		got, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Equal(t, stream("in", "in", "in"), got)
		require.Equal(t, 5*time.Minute, time.Since(begun), "a minute after the last")
		synctest.Wait()
		require.Equal(t, 1, r.leftTimes)
		require.False(t, r.brokenOff)
		_, err = c.Write(stream("late"))
		require.NoError(t, err, "what is under way is sent")
		c.Close()
		_, err = c.Write(stream("too late"))
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, net.ErrClosed)
		c.Close()
		require.Equal(t, 1, r.leftTimes)
		require.Equal(t, 1, r.closes)
		time.Sleep(time.Hour)
	})
}

func TestConnBrokenOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := testConn(time.Minute)
		ended := make(chan error)
		go func() {
			_, err := c.Read(make([]byte, 1))
			ended <- err
		}()
		synctest.Wait()
		c.Close()
		require.ErrorIs(t, <-ended, net.ErrClosed)
		require.True(t, r.brokenOff)
		c.receive([]byte("late"))
	})
}

func TestConnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := testConn(time.Minute)
		defer c.Close()
		begun := time.Now()
		c.SetReadDeadline(begun.Add(time.Second))
		_, err := c.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, time.Second, time.Since(begun))
		c.SetDeadline(time.Time{})
		c.receive([]byte("in"))
		_, err = c.Read(make([]byte, 100))
		require.NoError(t, err)
		c.SetReadDeadline(time.Unix(1, 0))
		c.receive([]byte("in"))
		_, err = c.Read(make([]byte, 100))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "also when there is something")
	})
}

// TestConnAwaitRead: who rests is called for a datagram, the end and a deadline,
// and no more once it has left.
func TestConnAwaitRead(t *testing.T) {
	for name, wake := range map[string]func(*Conn){
		"datagram":   func(c *Conn) { c.receive([]byte("in")) },
		"end":        func(c *Conn) { c.CloseWrite() },
		"close":      func(c *Conn) { c.Close() },
		"deadline":   func(c *Conn) { c.SetReadDeadline(time.Unix(1, 0)) },
		"later":      func(c *Conn) { c.SetReadDeadline(time.Now().Add(time.Second)); time.Sleep(2 * time.Second) },
		"idle":       func(c *Conn) { time.Sleep(time.Hour) },
		"it was one": func(c *Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := testConn(time.Minute)
				defer c.Close()
				var calls atomic.Int32
				leave := c.AwaitRead(func() { calls.Add(1) })
				require.True(t, leave())
				if name == "it was one" {
					c.receive([]byte("in"))
				}
				leave = c.AwaitRead(func() { calls.Add(1) })
				synctest.Wait()
				wake(c)
				synctest.Wait()
				require.EqualValues(t, 1, calls.Load())
				require.False(t, leave())
			})
		})
	}
}
