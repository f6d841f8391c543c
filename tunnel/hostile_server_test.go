package tunnel

import (
	"context"
	"encoding/binary"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
)

// A server with the client's key that makes it work as hard as it can.

// puppet is a server whose control connections and pooled connections are in
// the test's hands.
type puppet struct {
	addr    string
	accepts atomic.Int64 // pooled connections so far

	mu     sync.Mutex
	pooled map[[8]byte]net.Conn // those that were given an ID
}

const puppetPoolMax = 16

// startPuppet runs play with every client that joins.
func startPuppet(t *testing.T, key pool.Key, play func(p *puppet, control net.Conn)) *puppet {
	t.Helper()
	p := &puppet{pooled: make(map[[8]byte]net.Conn)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p.addr = l.Addr().String()
	welcome := wire.Welcome{Session: [16]byte{1}, Secret: wire.Secret{2}, Heartbeat: time.Minute, PoolMax: puppetPoolMax, MaxServices: 8}
	door, err := pool.NewAcceptor(pool.AcceptConfig{TLS: pool.TLSPlain, Keys: func(hello pool.Hello) (pool.Key, bool) {
		if hello.Kind == wire.KindPool {
			return key.Session(welcome.Secret[:]), true
		}
		return key, true
	}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var tasks sync.WaitGroup
	tasks.Go(func() { // ends with ctx
		door.Serve(ctx, l, func(_ context.Context, conn net.Conn, hello pool.Hello) {
			conn.SetDeadline(time.Now().Add(2 * patience))
			if hello.Kind == wire.KindPool {
				p.name(conn)
				return
			}
			conn.Write(wire.AppendMessage(nil, welcome))
			tasks.Go(func() { // ends with the client, or play
				gone := listenTo(conn)
				play(p, conn)
				<-gone
				conn.Close()
			})
		})
	})
	t.Cleanup(func() {
		cancel()
		p.mu.Lock()
		for _, conn := range p.pooled {
			conn.Close()
		}
		p.mu.Unlock()
		tasks.Wait()
	})
	return p
}

// name gives a pooled connection an ID of its own.
func (p *puppet) name(conn net.Conn) {
	id := [8]byte([]byte("!!!!!!!!"))
	for i, n := 0, p.accepts.Add(1); n > 0; i, n = i+1, n/64 {
		id[i] += byte(n % 64)
	}
	p.mu.Lock()
	p.pooled[id] = conn
	p.mu.Unlock()
	conn.Write(id[:])
}

// ids waits until the client has count pooled connections, and names them.
func (p *puppet) ids(count int) (all [][8]byte) {
	for limit := time.Now().Add(patience); len(all) < count && time.Now().Before(limit); time.Sleep(tick) {
		all = all[:0]
		p.mu.Lock()
		for id := range p.pooled {
			all = append(all, id)
		}
		p.mu.Unlock()
	}
	return all
}

// pour writes what next makes, until that is nothing or the client is gone.
func pour(conn net.Conn, next func(b []byte) []byte) {
	for {
		var b []byte
		for len(b) < 16<<10 {
			more := next(b)
			if len(more) == len(b) {
				conn.Write(b)
				return
			}
			b = more
		}
		if _, err := conn.Write(b); err != nil {
			return
		}
	}
}

func (p *puppet) clientConfig(key pool.Key, target string) ClientConfig {
	return ClientConfig{
		Server: p.addr, Key: key, TLS: pool.TLSPlain, PoolMin: 1, PoolMax: 2 * puppetPoolMax,
		Services: []Service{{Name: "web", Target: target}},
	}
}

// TestEndlessNeeds: a server may ask for connections without end, and gets no
// more than it said it would hold.
func TestEndlessNeeds(t *testing.T) {
	const count = 200_000
	key := pool.NewKey()
	said := make(chan struct{})
	p := startPuppet(t, key, func(p *puppet, control net.Conn) {
		i := 0
		pour(control, func(b []byte) []byte {
			if i++; i > count {
				return b
			}
			return wire.AppendMessage(b, wire.Need{Count: 65535})
		})
		close(said) // one session: a second would panic
	})
	back := settled(t)
	before := runtime.NumGoroutine()
	g := runClient(t, p.clientConfig(key, "localhost:1"))
	most := 0
	eventually(t, func() bool {
		most = max(most, runtime.NumGoroutine()-before)
		return isDone(said) && g.Stats().Pool.Idle == puppetPoolMax
	}, g.log.text)
	require.Less(t, most, 200)
	require.True(t, g.Stats().Connected)
	require.EqualValues(t, puppetPoolMax, p.accepts.Load(), "the client dialed more than the server may hold")
	g.Close()
	<-g.done
	back()
}

// TestOpensWithoutStart: a server announces streams on connections that are
// there, thousands on each, and starts none. No target is dialed, what waits is
// bounded, and all of it is given up in time.
func TestOpensWithoutStart(t *testing.T) {
	const count = 100_000
	key := pool.NewKey()
	var dialed atomic.Int64
	target := startTarget(t, func(*net.TCPConn) { dialed.Add(1) })
	p := startPuppet(t, key, func(p *puppet, control net.Conn) {
		control.Write(wire.AppendMessage(nil, wire.Need{Count: puppetPoolMax}))
		ids := p.ids(puppetPoolMax)
		n := uint32(0)
		pour(control, func(b []byte) []byte {
			if n++; n > count {
				return b
			}
			return wire.AppendMessage(b, wire.Open{Stream: n, ID: ids[int(n)%len(ids)]})
		})
	})
	before := runtime.NumGoroutine()
	g := runClient(t, p.clientConfig(key, target))
	most := 0
	numbers := new(numbering) // of the latest session
	eventually(t, func() bool {
		most = max(most, runtime.NumGoroutine()-before)
		g.mu.Lock()
		if g.current != nil {
			numbers = g.current.numbers
		}
		g.mu.Unlock()
		return numbers.announced.last() == count && g.Stats().Open == 0
	}, func() string { return g.log.tail() })
	require.Less(t, most, 2*maxPending) // those that have just given up included
	require.Zero(t, dialed.Load())
	numbers.announced.mu.Lock()
	require.Empty(t, numbers.announced.announced)
	numbers.announced.mu.Unlock()
	t.Logf("%d streams announced and never begun: at most %d goroutines more; pool: %+v", count, most, g.Stats().Pool.Closed)
}

// TestStartsWithoutOpen: a server begins streams that it never announced. The
// client reads none of it, and closes what stays readable for too long.
func TestStartsWithoutOpen(t *testing.T) {
	key := pool.NewKey()
	var dialed atomic.Int64
	target := startTarget(t, func(*net.TCPConn) { dialed.Add(1) })
	p := startPuppet(t, key, func(p *puppet, control net.Conn) {
		n := uint32(0)
		for _, id := range p.ids(1) {
			n++
			p.mu.Lock()
			conn := p.pooled[id]
			p.mu.Unlock()
			b := wire.AppendFrame(nil, wire.FrameStart, n)
			conn.Write(wire.AppendFrame(b, wire.FrameData, n, []byte("GET / HTTP/1.1\r\n\r\n")...))
		}
	})
	g := runClient(t, p.clientConfig(key, target))
	eventually(t, func() bool { return g.Stats().Pool.Closed[pool.ClosedUnpaired] > 0 }, func() string { return g.log.tail() })
	require.Zero(t, dialed.Load())
	require.Zero(t, g.Stats().Streams)
}

// TestDialsOnlyDeclaredTargets: whatever number a server gives a service, the
// client dials what it was configured with, once for each stream.
func TestDialsOnlyDeclaredTargets(t *testing.T) {
	key := pool.NewKey()
	asked := make(chan string, 10)
	target := startTarget(t, func(c *net.TCPConn) {
		head := make([]byte, 4)
		c.Read(head)
		asked <- string(head)
	})
	p := startPuppet(t, key, func(p *puppet, control net.Conn) {
		id := p.ids(1)[0]
		p.mu.Lock()
		conn := p.pooled[id]
		p.mu.Unlock()
		control.Write(wire.AppendMessage(nil, wire.Open{Stream: 1, ID: id, User: "127.0.0.1:22"}))
		b := wire.AppendFrame(nil, wire.FrameStart, 1)
		conn.Write(wire.AppendFrame(b, wire.FrameData, 1, binary.BigEndian.AppendUint32(nil, 0x61626364)...))
		for ref := uint16(1); ref != 0; ref <<= 1 { // each ends the session, or the connection is gone
			control.Write(wire.AppendMessage(nil, wire.Open{Stream: 2, ID: id, Ref: ref}))
		}
	})
	g := runClient(t, p.clientConfig(key, target))
	g.log.find(t, "opened a stream for service 1, which we do not have")
	require.Equal(t, "abcd", <-asked)
	require.EqualValues(t, 1, g.Stats().Streams)
}
