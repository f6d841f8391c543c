package tunnel

import (
	"bufio"
	"context"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
)

// A peer with a valid key that does not keep to the protocol: the session ends
// with a reason, and neither memory nor goroutines grow.

// joinAndRegister joins by hand and publishes one service.
func (h *host) joinAndRegister(t testing.TB, name string) (net.Conn, wire.Welcome) {
	t.Helper()
	conn, w := h.join(t, h.key, name)
	say(t, conn, wire.Register{Ref: 0, Network: wire.NetworkTCP, Name: "web"})
	for {
		m, err := wire.ReadMessage(conn, nil)
		require.NoError(t, err)
		if r, ok := m.(wire.Registered); ok {
			require.Equal(t, wire.OK, r.Code, r.Text)
			return conn, w
		}
	}
}

func say(t testing.TB, conn net.Conn, messages ...wire.Message) {
	t.Helper()
	var b []byte
	for _, m := range messages {
		b = wire.AppendMessage(b, m)
	}
	_, err := conn.Write(b)
	require.NoError(t, err)
}

// listenTo reads and drops what a peer says, until it hangs up.
func listenTo(conn net.Conn) (gone chan struct{}) {
	gone = make(chan struct{})
	go func() {
		defer close(gone)
		r := bufio.NewReader(conn)
		for {
			if _, err := wire.ReadMessage(r, nil); err != nil {
				return
			}
		}
	}()
	return gone
}

func TestHostileClient(t *testing.T) {
	giant := strings.Repeat("n", wire.MaxText)
	for _, tt := range []struct {
		name string
		play func(conn net.Conn)
		why  string
	}{
		{"floods Register", func(conn net.Conn) {
			r := wire.AppendMessage(nil, wire.Register{Ref: 1, Network: wire.NetworkTCP, Port: 1, Name: giant})
			for range 100_000 {
				if _, err := conn.Write(r); err != nil {
					return
				}
			}
		}, "registers services too often"},
		{"says Open", func(conn net.Conn) {
			conn.Write(wire.AppendMessage(nil, wire.Open{Stream: 1, ID: [8]byte([]byte("abcdefgh"))}))
		}, "opened a stream for forward 0, which it does not have"},
		{"says Carry", func(conn net.Conn) {
			conn.Write(wire.AppendMessage(nil, wire.Carry{Stream: 1}))
		}, "Carry is not a client's to send"},
		{"floods Forward", func(conn net.Conn) {
			f := wire.AppendMessage(nil, wire.Forward{Network: wire.NetworkTCP, Target: giant})
			for range 100_000 {
				if _, err := conn.Write(f); err != nil {
					return
				}
			}
		}, "registers services too often"},
		{"says Welcome", func(conn net.Conn) {
			conn.Write(wire.AppendMessage(nil, wire.Welcome{Heartbeat: time.Second, PoolMax: 1, MaxServices: 1}))
		}, "Welcome is not a client's to send"},
		{"floods Ping", func(conn net.Conn) {
			for range 100_000 {
				if _, err := conn.Write(wire.AppendMessage(nil, wire.Ping{})); err != nil {
					return
				}
			}
		}, "pings too often"},
		{"says goodbye twice", func(conn net.Conn) {
			bye := wire.AppendMessage(nil, wire.GoAway{Code: wire.Shutdown})
			conn.Write(append(bye, bye...))
		}, "said goodbye twice"},
		{"answers for a stream that was never opened", func(conn net.Conn) {
			conn.Write(wire.AppendMessage(nil, wire.Canceled{Stream: 1, Outcome: wire.Outcome(1)}))
		}, "answers for stream 1, which was never opened"},
		{"answers a cancel with garbage", func(conn net.Conn) {
			m := wire.AppendMessage(nil, wire.Canceled{Stream: 1, Outcome: wire.Outcome(1)})
			m[len(m)-1] = 4
			conn.Write(m)
		}, "malformed Canceled"},
		{"garbage", func(conn net.Conn) { conn.Write([]byte("GET / HTTP/1.1\r\n\r\n")) }, "malformed"},
		{"a name with control characters", func(conn net.Conn) {
			conn.Write([]byte{3, 0, 0, 9, 0, 1, 1, 0, 0, 0, 2, 0x1b, '['})
		}, "control character"},
		{"an oversized message", func(conn net.Conn) { conn.Write([]byte{3, 0xff, 0xff, 0xff}) }, "malformed Register"},
		{"a slow message", func(conn net.Conn) { conn.Write([]byte{3, 0, 0, 8, 0}) }, "no sign of life"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Heartbeat = 100 * time.Millisecond })
			conn, _ := h.joinAndRegister(t, giant[:wire.MaxName])
			gone := listenTo(conn)
			tt.play(conn)
			t.Log(h.log.find(t, tt.why))
			<-gone
			eventually(t, func() bool { return h.Stats().Sessions == 0 }, h.log.text)
			for _, sv := range h.Stats().Services {
				require.False(t, sv.Up, "%v is up without its session", sv)
			}
			require.Less(t, h.log.count(""), 2*registerBurst, "the log was flooded")
		})
	}
}

// TestClientThatNeverReads is cut off, whatever it is told.
func TestClientThatNeverReads(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Heartbeat = 50 * time.Millisecond })
	conn, _ := h.join(t, h.key, "deaf")
	conn.(*net.TCPConn).SetReadBuffer(1)
	go func() { // alive, all the same
		for {
			if _, err := conn.Write(wire.AppendMessage(nil, wire.Pong{})); err != nil {
				return
			}
		}
	}()
	// Small writes fill nobody's buffers for a long time: an open user does.
	c := h.Server
	eventually(t, func() bool {
		for _, s := range c.allSessions() {
			for range 1000 {
				s.link.Send(wire.GoAway{Code: wire.Shutdown, Text: strings.Repeat("x", wire.MaxText)})
			}
		}
		return h.Stats().Sessions == 0
	}, h.log.text)
	t.Log(h.log.find(t, "left: "))
}

// TestHostileStreams: a client that takes users and breaks their streams' rules
// costs those users, and no other.
func TestHostileStreams(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(n uint32) []byte
	}{
		{"hangs up", func(uint32) []byte { return nil }},
		{"garbage", func(uint32) []byte { return []byte("GET / HTTP/1.1\r\n\r\n") }},
		{"DATA before ACK", func(n uint32) []byte { return wire.AppendFrame(nil, wire.FrameData, n, 'x') }},
		{"another stream's DATA", func(n uint32) []byte {
			return append(wire.AppendFrame(nil, wire.FrameAck, n), wire.AppendFrame(nil, wire.FrameData, n+1, 'x')...)
		}},
		{"DONE at once", func(n uint32) []byte {
			return append(wire.AppendFrame(nil, wire.FrameAck, n), wire.AppendFrame(nil, wire.FrameDone, n, 1)...)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Wait = time.Second })
			_, w := h.joinAndRegister(t, "hostile")
			conn, err := h.knock(t, h.key.Session(w.Secret[:]), wire.KindPool, w.Session[:])
			require.NoError(t, err)
			_, err = conn.Read(make([]byte, 8))
			require.NoError(t, err)
			c := dialUser(t, h.Stats().Services[0].Addr)
			head := make([]byte, wire.FrameHeaderSize)
			_, err = conn.Read(head)
			require.NoError(t, err)
			frame, err := wire.ParseFrameHeader(head)
			require.NoError(t, err)
			conn.Write(tt.answer(frame.Stream))
			if tt.name == "hangs up" {
				conn.Close()
			}
			n, err := c.Read(make([]byte, 10))
			require.Error(t, err)
			require.Zero(t, n, "the user got bytes that are not its own")
			eventually(t, func() bool { return h.Stats().Pools[0].Out == 0 }, h.log.text)
			require.Zero(t, h.Stats().Pools[0].Idle, "the connection was kept")
		})
	}
}

// TestBytesOnIdleConnection: a client that writes where it must be silent loses
// the connection, and no user sees the bytes.
func TestBytesOnIdleConnection(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	_, w := h.joinAndRegister(t, "chatty")
	conn, err := h.knock(t, h.key.Session(w.Secret[:]), wire.KindPool, w.Session[:])
	require.NoError(t, err)
	_, err = conn.Read(make([]byte, 8))
	require.NoError(t, err)
	eventually(t, func() bool { return h.Stats().Pools[0].Idle == 1 }, h.log.text)
	send(t, conn, "psst")
	eventually(t, func() bool { return h.Stats().Pools[0].Closed[pool.ClosedDead] == 1 }, h.log.text)
}

// fakeServer is a server in the test's hands, up to the Welcome.
func fakeServer(t *testing.T, key pool.Key, play func(control net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	welcome := wire.Welcome{Session: [16]byte{1}, Secret: wire.Secret{2}, Heartbeat: time.Minute, PoolMax: 16, MaxServices: 8}
	door, err := pool.NewAcceptor(pool.AcceptConfig{TLS: pool.TLSPlain, Keys: func(hello pool.Hello) (pool.Key, bool) {
		if hello.Kind == wire.KindPool {
			return key.Session(welcome.Secret[:]), true
		}
		return key, true
	}})
	require.NoError(t, err)
	ctx, cancel := contextFor(t, time.Minute)
	done := make(chan struct{})
	var mu sync.Mutex
	var pooled []net.Conn
	go func() {
		defer close(done)
		door.Serve(ctx, l, func(_ context.Context, conn net.Conn, hello pool.Hello) {
			conn.SetDeadline(time.Now().Add(patience))
			if hello.Kind == wire.KindPool {
				conn.Write([]byte("IDENTITY")) // the same for all: only one is taken
				mu.Lock()
				defer mu.Unlock()
				pooled = append(pooled, conn)
				return
			}
			conn.Write(wire.AppendMessage(nil, welcome))
			go func() {
				gone := listenTo(conn)
				play(conn)
				<-gone
				conn.Close()
			}()
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		for _, c := range pooled {
			c.Close()
		}
	})
	return l.Addr().String()
}

// TestHostileServer: the client ends the session with a clear reason, and goes
// on trying.
func TestHostileServer(t *testing.T) {
	open := func(n uint32, ref uint16) []byte {
		return wire.AppendMessage(nil, wire.Open{Stream: n, ID: [8]byte([]byte("NOTHERE!")), Ref: ref})
	}
	bye := wire.AppendMessage(nil, wire.GoAway{Code: wire.Shutdown, Text: "bye"})
	for _, tt := range []struct {
		name string
		says []byte
		why  string
	}{
		{"undeclared service", open(1, 7), "opened a stream for service 7, which we do not have"},
		{"probe", open(1, wire.RefProbe), "which we do not have"},
		{"reused number", append(open(5, 0), open(5, 0)...), "opened stream 5: stream number out of order"},
		{"lower number", append(open(5, 0), open(4, 0)...), "opened stream 4: stream number out of order"},
		{"answer for no service", wire.AppendMessage(nil, wire.Registered{Ref: 9, Addr: "1.2.3.4:5"}), "answers for service 9"},
		{"answers twice", append(wire.AppendMessage(nil, wire.Registered{Addr: "1.2.3.4:5"}), wire.AppendMessage(nil, wire.Registered{Addr: "1.2.3.4:6"})...), "which we did not ask about"},
		{"goodbye twice", append(bye[:len(bye):len(bye)], bye...), "said goodbye twice"},
		{"Register", wire.AppendMessage(nil, wire.Register{Network: wire.NetworkTCP}), "Register is not a server's to send"},
		{"second welcome", wire.AppendMessage(nil, wire.Welcome{Heartbeat: time.Second, PoolMax: 1, MaxServices: 1}), "Welcome is not a server's to send"},
		{"garbage", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), "malformed"},
		{"undeclared service on a carrier", wire.AppendMessage(nil, wire.Carry{Stream: 1, Ref: 7}), "opened a stream for service 7, which we do not have"},
		{"reused number on a carrier", append(open(5, 0), wire.AppendMessage(nil, wire.Carry{Stream: 5, Carrier: 1})...), "opened stream 5: stream number out of order"},
		{"answer for no forward", wire.AppendMessage(nil, wire.Forwarded{Ref: 9}), "answers for forward 9, which we do not have"},
		{"answer to no question", wire.AppendMessage(nil, wire.Canceled{Stream: 1, Outcome: wire.Committed}), "answers for stream 1, which was never opened"},
		{"type 19", []byte{19, 0, 0, 4, 0, 0, 0, 1}, "unknown type 19"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key := pool.NewKey()
			addr := fakeServer(t, key, func(control net.Conn) { control.Write(tt.says) })
			g := runClient(t, ClientConfig{Server: addr, Key: key, TLS: pool.TLSPlain, PoolMin: 1, Services: []Service{{Name: "web", Target: "localhost:1"}}})
			t.Log(g.log.find(t, tt.why))
		})
	}
}

// TestEndlessOpens: streams that are announced and never begin are bounded in
// number and in time.
func TestEndlessOpens(t *testing.T) {
	key := pool.NewKey()
	const count = 4 * maxPending
	before := runtime.NumGoroutine()
	addr := fakeServer(t, key, func(control net.Conn) {
		for n := uint32(1); n <= count; n++ {
			if _, err := control.Write(wire.AppendMessage(nil, wire.Open{Stream: n, ID: [8]byte([]byte("NOTHERE!"))})); err != nil {
				return
			}
		}
	})
	g := runClient(t, ClientConfig{Server: addr, Key: key, TLS: pool.TLSPlain, PoolMin: 1, Services: []Service{{Name: "web", Target: "localhost:1"}}})
	most := 0
	eventually(t, func() bool {
		most = max(most, runtime.NumGoroutine()-before)
		return g.Stats().Unstarted == count
	}, g.log.text)
	require.Less(t, most, 2*maxPending) // those that have just given up included
	require.Zero(t, g.Stats().Streams)
	require.True(t, g.Stats().Connected)
}
