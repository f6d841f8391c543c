package tunnel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// How the users of the fire behave.
const (
	asksAndReads  = iota // the well-behaved one
	halfClosesNow        // ends its direction before the answer begins
	readsSlowly
	resetsMidway
	leavesMidway // closes with the answer unread
	leavesAtOnce
	resetsAtOnce
	targetResets
	behaviours
)

// fireByte is byte i of stream n, in the given direction: each stream has a
// pattern of its own.
func fireByte(n uint32, back bool, i int) byte {
	x := uint64(n)<<33 | uint64(i)
	if back {
		x |= 1 << 32
	}
	x *= 0x9e3779b97f4a7c15
	return byte(x >> 56)
}

func fireBytes(n uint32, back bool, from, to int) []byte {
	b := make([]byte, to-from)
	for i := range b {
		b[i] = fireByte(n, back, from+i)
	}
	return b
}

func sizes(n uint32) (there, back int) { return int(n*7919) % 6000, int(n*104729) % 20000 }

// fire counts what went wrong.
type fire struct {
	t                         *testing.T
	foreign                   atomic.Int64 // bytes that belong to no place they were seen at
	targets, answered, failed atomic.Int64
}

// check compares what was read at from with the stream's pattern.
func (f *fire) check(n uint32, back bool, from int, got []byte) {
	for i, b := range got {
		if b != fireByte(n, back, from+i) {
			f.foreign.Add(1)
			f.t.Errorf("stream %d, back %v: byte %d is another stream's", n, back, from+i)
			return
		}
	}
}

// target reads a stream's number and how its user behaves, and plays along.
func (f *fire) target(c *net.TCPConn) {
	var head [5]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return // left at once
	}
	f.targets.Add(1)
	n := binary.BigEndian.Uint32(head[:])
	_, back := sizes(n)
	if head[4] == targetResets {
		c.Write(fireBytes(n, true, 0, back/2))
		reset(c)
		return
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		c.Write(fireBytes(n, true, 0, back))
		c.CloseWrite()
	}()
	buf := make([]byte, 4096)
	for at := 0; ; {
		k, err := c.Read(buf)
		f.check(n, false, at, buf[:k])
		at += k
		if err != nil {
			break
		}
	}
	<-answered
}

func (f *fire) user(addr string, n uint32) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	c := conn.(*net.TCPConn)
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	how := byte(n % behaviours)
	there, back := sizes(n)
	switch how {
	case leavesAtOnce:
		return nil
	case resetsAtOnce:
		reset(c)
		return nil
	}
	head := append(binary.BigEndian.AppendUint32(nil, n), how)
	if how == halfClosesNow {
		there = 0
	}
	_, err = c.Write(append(head, fireBytes(n, false, 0, there)...))
	if err != nil && how != targetResets {
		return err
	}
	limit, pause := back, 0
	switch how {
	case asksAndReads, halfClosesNow:
		c.CloseWrite()
	case readsSlowly:
		c.CloseWrite()
		pause = 5
	case resetsMidway, leavesMidway:
		limit = back / 3
	}
	buf := make([]byte, 2048)
	at := 0
	for at < limit || limit == back {
		k, err := c.Read(buf)
		f.check(n, true, at, buf[:k])
		at += k
		if err != nil {
			if how == targetResets {
				return nil
			}
			if errors.Is(err, io.EOF) && at == back {
				f.answered.Add(1)
				return nil
			}
			return fmt.Errorf("%d of %d bytes: %w", at, back, err)
		}
		if pause > 0 {
			pause--
			time.Sleep(time.Millisecond) // slowness is what it is about
		}
	}
	if how == resetsMidway {
		reset(c)
	}
	return nil
}

// TestRecyclingUnderFire sends 20,000 streams over a small pool: users that
// reset, half-close early, read slowly or leave at once. Every byte belongs to
// its stream, every well-behaved user is served, and no connection is lost from
// either pool's books.
func TestRecyclingUnderFire(t *testing.T) {
	streams, parallel := uint32(20_000), 24
	if testing.Short() {
		streams = 2000
	}
	perMode := streams / uint32(len(modes))
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		f := &fire{t: t}
		h := startServer(t, mode)
		g := startClient(t, h, startTarget(t, f.target), func(cfg *ClientConfig) { cfg.PoolMin, cfg.PoolMax = 8, 8 })
		var next atomic.Uint32
		var users sync.WaitGroup
		begun := time.Now()
		for range parallel {
			users.Go(func() {
				for n := next.Add(1); n <= perMode+1; n = next.Add(1) {
					if err := f.user(g.public(0), n); err != nil {
						f.failed.Add(1)
						t.Errorf("stream %d (behaviour %d): %v", n, n%behaviours, err)
					}
				}
			})
		}
		users.Wait()
		lasted := time.Since(begun)
		eventually(t, func() bool { return h.Stats().Open == 0 && g.Stats().Open == 0 },
			func() string { return fmt.Sprintf("open: %d and %d", h.Stats().Open, g.Stats().Open) })
		require.Zero(t, f.foreign.Load())
		checkBooks(t, h, g)
		for range 20 {
			c := g.dial(t)
			n := next.Add(1)
			_, back := sizes(n)
			_, err := c.Write(append(binary.BigEndian.AppendUint32(nil, n), asksAndReads))
			require.NoError(t, err)
			c.CloseWrite()
			got, err := io.ReadAll(c)
			require.NoError(t, err)
			require.Equal(t, fireBytes(n, true, 0, back), got)
		}
		client, server := g.Stats(), h.Stats()
		t.Logf("%d streams in %v, %d reached the target, %d answered whole, %d failed, no answer %d; created %d, closed %v (server %v)",
			server.Streams, lasted.Round(time.Millisecond), f.targets.Load(), f.answered.Load(), f.failed.Load(), server.NoAck,
			client.Pool.Created, client.Pool.Closed, server.Pools[0].Closed)
	})
}

// checkBooks waits until both pools agree and checks that their counters add up.
func checkBooks(t *testing.T, h *host, g *guest) {
	t.Helper()
	books := func() (client, server pool.Stats) { return g.Stats().Pool, h.Stats().Pools[0] }
	eventually(t, func() bool {
		client, server := books()
		return client.Idle == server.Idle && client.Idle >= g.cfg.Load().PoolMin && client.Out+server.Out == 0
	}, func() string {
		client, server := books()
		return fmt.Sprintf("the pools differ:\n%+v\n%+v", client, server)
	})
	client, server := books()
	for _, s := range []pool.Stats{client, server} {
		sum := uint64(s.Idle + s.Out)
		for _, n := range s.Closed {
			sum += n
		}
		require.Equal(t, s.Created, sum, "%+v", s)
	}
}
