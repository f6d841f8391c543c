package tunnel

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
)

// A client with a valid key that asks for as much as it can, within the
// protocol or not.

// settled fails the test unless goroutines and memory fall back to what they
// were when it was called.
func settled(t *testing.T) (check func()) {
	t.Helper()
	measure := func() (goroutines int, heap uint64) {
		runtime.GC()
		runtime.GC() // what pools of the first still held
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapAlloc
	}
	const slack = 10 << 20
	goroutines, heap := measure()
	return func() {
		t.Helper()
		var g int
		var h uint64
		eventually(t, func() bool {
			g, h = measure()
			return g <= goroutines && h <= heap+slack
		}, func() string {
			return fmt.Sprintf("%d goroutines of %d, %d KiB of %d are left", g, goroutines, h>>10, heap>>10)
		})
		t.Logf("memory before %d KiB, after %d KiB", heap>>10, h>>10)
	}
}

// answers reads messages until it has count of the wanted kind.
func answers[M wire.Message](t *testing.T, conn net.Conn, count int) (all []M) {
	t.Helper()
	for len(all) < count {
		m, err := wire.ReadMessage(conn, nil)
		require.NoError(t, err)
		if m, ok := m.(M); ok {
			all = append(all, m)
		}
	}
	return all
}

// TestThousandsOfServices: a client registers as many services as the rate
// allows, over many sessions. It gets no more than its share, and all ports
// close with it.
func TestThousandsOfServices(t *testing.T) {
	h := startServer(t, pool.TLSPlain, noLinger)
	back := settled(t)
	for session := range 4 {
		conn, _ := h.join(t, h.key, "greedy")
		var asked []wire.Message
		for ref := range registerBurst {
			asked = append(asked, wire.Register{Ref: uint16(ref), Network: wire.NetworkTCP, Name: fmt.Sprint(ref)})
		}
		say(t, conn, asked...)
		up, tooMany := 0, 0
		for _, r := range answers[wire.Registered](t, conn, registerBurst) {
			switch r.Code {
			case wire.OK:
				up++
			case wire.TooMany:
				tooMany++
			}
		}
		require.Equal(t, maxServices, up, "session %d", session)
		require.Equal(t, registerBurst-maxServices, tooMany)
		all := h.Stats().Services
		ports := slices.DeleteFunc(slices.Clone(all), func(s ServiceStatus) bool { return !s.Up })
		require.Equal(t, maxServices, len(ports))
		require.Equal(t, maxServices, len(all)-len(ports), "as many of the denied are told of")
		conn.Close()
		eventually(t, func() bool { return h.Stats().Sessions == 0 }, h.log.text)
		_, err := net.Dial("tcp", ports[0].Addr)
		require.Error(t, err)
	}
	back()
}

// TestTooManyPooled: a client dials pooled connections without end. The server
// holds as many as it offered.
func TestTooManyPooled(t *testing.T) {
	const most = 8
	h := startServer(t, pool.TLSPlain, noLinger, func(cfg *ServerConfig) { cfg.PoolMax = most })
	_, w := h.join(t, h.key, "greedy")
	require.EqualValues(t, most, w.PoolMax)
	for range 5 * most {
		conn, err := h.knock(t, h.key.Session(w.Secret[:]), wire.KindPool, w.Session[:])
		require.NoError(t, err)
		io.ReadFull(conn, make([]byte, 8)) // an ID, or a close
	}
	eventually(t, func() bool { return h.Stats().Pools[0].Idle == most }, func() string { return fmt.Sprintf("%+v", h.Stats().Pools) })
	require.EqualValues(t, most, h.Stats().Pools[0].Created)
}

// TestAnswersWithoutQuestions: answers are due once for each cancel.
func TestAnswersWithoutQuestions(t *testing.T) {
	h := startServer(t, pool.TLSPlain, noLinger)
	conn, w := h.joinAndRegister(t, "talkative")
	pooled, err := h.knock(t, h.key.Session(w.Secret[:]), wire.KindPool, w.Session[:])
	require.NoError(t, err)
	_, err = io.ReadFull(pooled, make([]byte, 8))
	require.NoError(t, err)
	dialUser(t, h.Stats().Services[0].Addr)
	number := answers[wire.Open](t, conn, 1)[0].Stream
	for asked := false; !asked; {
		m, err := wire.ReadMessage(conn, nil)
		require.NoError(t, err)
		switch m := m.(type) {
		case wire.Ping: // who gives no sign of life is not asked
			say(t, conn, wire.Pong(m))
		case wire.Cancel:
			require.Equal(t, number, m.Stream)
			asked = true
		}
	}
	say(t, conn, wire.Canceled{Stream: number, Outcome: wire.Outcome(1)})
	say(t, conn, wire.Canceled{Stream: number, Outcome: wire.Outcome(1)})
	t.Log(h.log.find(t, "which was not asked about"))
	eventually(t, func() bool { return h.Stats().Sessions == 0 }, h.log.text)
}

// TestEndlessPongs cost the server reading, and nothing else; others are
// served meanwhile.
func TestEndlessPongs(t *testing.T) {
	const count = 1_000_000
	h := startServer(t, pool.TLSPlain, noLinger)
	g := startClient(t, h, startTarget(t, echo))
	back := settled(t)
	conn, _ := h.join(t, h.key, "talkative")
	said := make(chan struct{})
	go func() { // ends with the last write, or conn
		defer close(said)
		var b []byte
		for range 1000 {
			b = wire.AppendMessage(b, wire.Pong{Nonce: 1 << 40})
		}
		for range count / 1000 {
			if _, err := conn.Write(b); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for over := false; !over; {
		works(t, g)
		select {
		case <-said:
			over = true
		default:
		}
	}
	require.Equal(t, 2, h.Stats().Sessions)
	conn.Close()
	eventually(t, func() bool { return h.Stats().Sessions == 1 && h.Stats().Open == 0 }, h.log.text)
	back()
}

// TestUsersNeverTaken: a client whose pooled connections are fine, and that
// answers no Open. Each of its users is let go after a bounded time and number
// of attempts, whatever the client answers when it is asked.
func TestUsersNeverTaken(t *testing.T) {
	const users = 50
	for _, tt := range []struct {
		name    string
		outcome wire.Outcome // 0: no answer
		most    int          // offers for each user
	}{
		{"no answer", 0, 1},
		{"committed", 1, 1},
		{"refused", 2, 3},
		{"unknown", 3, 3}, // users who said nothing can be offered again
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := startServer(t, pool.TLSPlain, noLinger, func(cfg *ServerConfig) { cfg.Wait = time.Second })
			back := settled(t)
			conn, w := h.joinAndRegister(t, "idler")
			var dialing sync.WaitGroup
			dial := func() { // a pooled connection that nobody reads
				c, err := h.knock(t, h.key.Session(w.Secret[:]), wire.KindPool, w.Session[:])
				if err == nil {
					io.ReadFull(c, make([]byte, 8))
				}
			}
			for range users {
				dial()
			}
			opens := make(chan int, 1)
			go func() { // ends with conn
				count := 0
				for {
					m, err := wire.ReadMessage(conn, nil)
					if err != nil {
						opens <- count
						return
					}
					switch m := m.(type) {
					case wire.Open:
						count++
					case wire.Cancel:
						if tt.outcome != 0 {
							conn.Write(wire.AppendMessage(nil, wire.Canceled{Stream: m.Stream, Outcome: tt.outcome}))
						}
					case wire.Need:
						dialing.Go(dial)
					case wire.Ping:
						conn.Write(wire.AppendMessage(nil, wire.Pong(m)))
					}
				}
			}()
			public := h.Stats().Services[0].Addr
			begun := time.Now()
			var waiting sync.WaitGroup
			for range users {
				user := dialUser(t, public)
				waiting.Go(func() {
					defer user.Close()
					if _, err := user.Read(make([]byte, 1)); !isReset(err) {
						t.Errorf("the user saw %v, not a reset", err)
					}
				})
			}
			waiting.Wait()
			t.Logf("%d users were let go after %v at most", users, time.Since(begun).Round(time.Millisecond))
			eventually(t, func() bool { return h.Stats().Open == 0 && h.Stats().Pools[0].Out == 0 }, h.log.text)
			conn.Close()
			require.LessOrEqual(t, <-opens, tt.most*users)
			dialing.Wait()
			eventually(t, func() bool { return h.Stats().Sessions == 0 }, h.log.text)
			back()
		})
	}
}
