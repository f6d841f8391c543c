package pool

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLocalIsReady: connections are there before anybody asks, and serve again and
// again.
func TestLocalIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLineServer(t, nil)
		p := newLocal(t, s, LocalConfig{Limits: Limits{MinCap: 3}, Setup: saying("hello")})
		synctest.Wait()
		require.Equal(t, 3, p.Active())
		require.Equal(t, 3, s.heardOf("hello"))
		for i := range 100 {
			c := mustGet(t, p)
			answer, err := askLine(c, fmt.Sprint(i))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(i), answer)
			p.Put(c.ID(), c)
		}
		require.LessOrEqual(t, s.dials(), 4, "the planner may keep one more ready for takers")
		require.EqualValues(t, 100, p.Stats().Hits)
		requireBooks(t, p)
	})
}

// TestLocalByID: IDs name connections here, as in a pair.
func TestLocalByID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLocal(t, newLineServer(t, nil), LocalConfig{Limits: Limits{MinCap: 2, MaxOpen: 2}})
		a, b := mustGet(t, p), mustGet(t, p)
		require.NotEqual(t, a.ID(), b.ID())
		again := laterTake(p, a.ID())
		p.Put(a.ID(), a)
		g := <-again
		require.NoError(t, g.err)
		require.Equal(t, a.ID(), g.conn.ID())
		g.conn.Close()
		b.Close()
		_, err := p.ClientGet(b.ID())
		require.ErrorIs(t, err, ErrNotFound)
	})
}

func TestLocalIDs(t *testing.T) {
	for n, want := range map[uint64]string{1: "00000001", 36: "00000010", 1 << 41: ""} {
		id := localID(n)
		require.True(t, id.valid())
		if n <= 36 {
			require.Equal(t, want, id.String())
		}
	}
	require.NotEqual(t, localID(1<<41), localID(1<<41+1))
}

// TestSetupFails: what Setup refuses is closed and counted, dials go on with
// growing pauses, and who waited in vain is told why.
func TestSetupFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLineServer(t, nil)
		wrong := true
		p := newLocal(t, s, LocalConfig{Limits: Limits{AcquireTimeout: -1}, Setup: func(ctx context.Context, c *Conn) error {
			if wrong {
				return errors.New("wrong password")
			}
			return nil
		}})
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := p.Get(ctx)
		require.ErrorIs(t, err, ErrTimeout)
		require.ErrorContains(t, err, "wrong password")
		synctest.Wait()
		require.Zero(t, s.open(), "what failed is closed")
		stats := p.Stats()
		require.EqualValues(t, s.dials(), stats.SetupFailures)
		require.Equal(t, stats.SetupFailures, stats.DialFailures)
		require.Zero(t, stats.Created)
		require.Less(t, s.dials(), 40, "with growing pauses")
		wrong = false
		c := mustGet(t, p)
		p.Put(c.ID(), c)
	})
}

// TestSetupHangs: Setup has ConnectTimeout, also one that heeds no context.
func TestSetupHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLineServer(t, nil)
		begun := make(chan time.Time, 100)
		p := newLocal(t, s, LocalConfig{ConnectTimeout: 2 * time.Second, Setup: func(_ context.Context, c *Conn) error {
			begun <- time.Now()
			_, err := c.Read(make([]byte, 1)) // of a server that says nothing unasked
			return err
		}})
		first := <-begun
		time.Sleep(2*time.Second + time.Millisecond)
		synctest.Wait()
		require.EqualValues(t, 1, p.Stats().SetupFailures)
		require.Equal(t, 2*time.Second, time.Since(first).Truncate(time.Second))
		p.Close() // ends the next one, which hangs too
	})
}

// TestSetupClosesItself: a hook that ends the connection, whatever it returns, does
// not leave it in the books.
func TestSetupClosesItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLineServer(t, nil)
		p := newLocal(t, s, LocalConfig{Setup: func(_ context.Context, c *Conn) error { return c.Close() }})
		time.Sleep(time.Second)
		synctest.Wait()
		require.Positive(t, p.Stats().SetupFailures)
		require.Zero(t, p.Stats().Created)
		require.Zero(t, s.open())
	})
}

// TestDo: the connection goes back, or goes for good, by what its user met.
func TestDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLineServer(t, nil)
		p := newLocal(t, s, LocalConfig{Limits: Limits{MaxOpen: 1}})
		do := func(result error) error {
			return p.Do(t.Context(), func(c net.Conn) error {
				_, err := askLine(c, "x")
				require.NoError(t, err)
				return result
			})
		}
		require.NoError(t, do(nil))
		require.NoError(t, do(Keep(nil)))
		require.Equal(t, io.ErrNoProgress, do(Keep(io.ErrNoProgress)), "as it is")
		wrapped := fmt.Errorf("ask: %w", Keep(io.ErrNoProgress))
		require.Equal(t, wrapped, do(wrapped))
		require.Equal(t, 1, s.dials())
		require.Equal(t, errBroken, do(errBroken))
		require.EqualValues(t, 1, p.Stats().Closed[ClosedDiscarded])
		require.PanicsWithValue(t, "gone wrong", func() { p.Do(t.Context(), func(net.Conn) error { panic("gone wrong") }) })
		require.EqualValues(t, 2, p.Stats().Closed[ClosedDiscarded])
		require.NoError(t, do(nil))
		require.Equal(t, 3, s.dials(), "what broke never came back")
		require.Zero(t, p.Stats().Out)
	})
}

// TestDiscard: only the live handle of this pool's connection is counted as a fault;
// what else is given to it is closed, as by Put.
func TestDiscard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLineServer(t, nil)
		p := newLocal(t, s, LocalConfig{Limits: Limits{MinCap: 2, MaxOpen: 2}})
		c := mustGet(t, p)
		p.Discard(c.ID(), wrapper{c}, errBroken)
		p.Discard(c.ID(), c, errBroken)
		p.Put(c.ID(), c)
		require.EqualValues(t, 1, p.Stats().Closed[ClosedDiscarded])
		_, err := c.Write([]byte("x"))
		require.ErrorIs(t, err, net.ErrClosed)
		near, far := net.Pipe()
		defer near.Close()
		p.Discard("other", far, nil)
		requireEnded(t, near)
		p.Discard("nothing", nil, nil)
		d := mustGet(t, p)
		p.Discard("wrong ID", d, nil)
		require.EqualValues(t, 1, p.Stats().Closed[ClosedByHolder])
	})
}

// TestFresh: a connection for one user is set up, never comes back, is bounded by
// nothing, and is waited for by a drain.
func TestFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLineServer(t, nil)
		p := newLocal(t, s, LocalConfig{
			Limits: Limits{MaxOpen: 1}, Setup: saying("hello"), Goodbye: saying("bye"),
		})
		pooled := mustGet(t, p)
		fresh, err := p.Fresh(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, p.Stats().Out)
		require.NotEqual(t, pooled.ID(), fresh.ID())
		p.Put(fresh.ID(), fresh)
		synctest.Wait()
		require.Equal(t, []string{"hello", "bye"}, s.heard(1))
		require.EqualValues(t, 1, p.Stats().Closed[ClosedSingle])
		require.Zero(t, p.Active())
		p.Put(pooled.ID(), pooled)
		require.Equal(t, 1, p.Active())

		fresh, err = p.Fresh(t.Context())
		require.NoError(t, err)
		drained := make(chan error, 1)
		go func() { drained <- p.Drain(context.Background()) }() // ends with the Put
		synctest.Wait()
		_, err = p.Fresh(t.Context())
		require.ErrorIs(t, err, ErrClosed)
		require.Empty(t, drained)
		p.Put(fresh.ID(), fresh)
		require.NoError(t, <-drained)
	})
	_, err := newServerCore(t, 1).Fresh(t.Context())
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

// TestFreshFails: its error is that of the dial, or of who asked.
func TestFreshFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLineServer(t, nil)
		s.setRefuse(errBroken)
		p := newLocal(t, s, LocalConfig{})
		_, err := p.Fresh(t.Context())
		require.ErrorIs(t, err, errBroken)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(io.ErrNoProgress)
		_, err = p.Fresh(ctx)
		require.Equal(t, io.ErrNoProgress, err)
		require.Zero(t, p.Stats().Created)
	})
}

// TestUnasked: what the server says unasked is a broken connection, unless
// something that Setup built reads it.
func TestUnasked(t *testing.T) {
	for _, background := range []bool{false, true} {
		t.Run(fmt.Sprint("background ", background), func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer l.Close()
			heard := make(chan string, 10)
			p := keep(t)(NewLocal(LocalConfig{Address: l.Addr().String(), Limits: Limits{MaxOpen: 1}, Setup: func(_ context.Context, c *Conn) error {
				if background {
					c.SetValue("a client")
					go func() { // ends with the connection
						for lines := bufio.NewScanner(c); lines.Scan(); {
							heard <- lines.Text()
						}
					}()
				}
				return nil
			}}))
			server, err := l.Accept()
			require.NoError(t, err)
			defer server.Close()
			c := mustGet(t, p)
			p.Put(c.ID(), c)
			_, err = io.WriteString(server, "are you there?\n")
			require.NoError(t, err)
			if !background {
				requireEnded(t, server)
				return
			}
			require.Equal(t, "are you there?", <-heard)
			again := mustGet(t, p)
			require.Equal(t, c.ID(), again.ID())
			value, ok := ValueOf[string](wrapper{again})
			require.True(t, ok)
			require.Equal(t, "a client", value)
			p.Put(again.ID(), again)
			require.Nil(t, again.Value(), "a dead handle shows nothing")
			server.Close() // the background reader's end is the connection's
			require.Eventually(t, func() bool { return p.Stats().Closed[ClosedDead] == 1 }, 10*time.Second, 10*time.Millisecond)
		})
	}
}

// TestLeftoverIsNobodys: an answer that came too late for its reader is not the next
// user's, also where a client built in Setup reads, as long as it only does when
// asked.
func TestLeftoverIsNobodys(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	p := keep(t)(NewLocal(LocalConfig{Address: l.Addr().String(), Limits: Limits{MaxOpen: 1}, Setup: func(_ context.Context, c *Conn) error {
		c.SetValue(bufio.NewReader(c))
		return nil
	}}))
	server, err := l.Accept()
	require.NoError(t, err)
	defer server.Close()
	c := mustGet(t, p)
	_, err = io.WriteString(server, "first\n")
	require.NoError(t, err)
	reader, _ := ValueOf[*bufio.Reader](c)
	line, err := reader.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "first\n", line)
	_, err = io.WriteString(server, "late\n")
	require.NoError(t, err)
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.Eventually(t, func() bool { return probe(raw) == livenessReadable }, 10*time.Second, time.Millisecond)
	p.Put(c.ID(), c)
	require.EqualValues(t, 1, p.Stats().Closed[ClosedDead])
	requireEnded(t, server)
}

// TestBuiltOn: what Setup built on a connection works for every later holder, and
// an error that it meets keeps the connection from the next one.
func TestBuiltOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type client struct{ conn net.Conn }
		s := newLineServer(t, func(_ int, line string) string {
			if line == "hang up" {
				return ""
			}
			return line
		})
		p := newLocal(t, s, LocalConfig{Limits: Limits{MaxOpen: 1}, Setup: func(_ context.Context, c *Conn) error {
			c.SetValue(&client{c})
			return nil
		}})
		for range 3 {
			c := mustGet(t, p)
			built, ok := ValueOf[*client](c)
			require.True(t, ok)
			answer, err := askLine(built.conn, "x")
			require.NoError(t, err)
			require.Equal(t, "x", answer)
			p.Put(c.ID(), c)
		}
		require.Equal(t, 1, s.dials())
		c := mustGet(t, p)
		built, _ := ValueOf[*client](c)
		_, err := askLine(built.conn, "hang up")
		require.Error(t, err)
		p.Put(c.ID(), c) // by somebody who did not look
		require.EqualValues(t, 1, p.Stats().Closed[ClosedUnfit])
		c = mustGet(t, p)
		other, _ := ValueOf[*client](c)
		require.NotSame(t, built, other)
		require.NoError(t, other.conn.Close(), "the own handle ends the connection, whoever has it")
		_, err = c.Write([]byte("x"))
		require.Error(t, err)
		p.Put(c.ID(), c)
		require.EqualValues(t, 1, p.Stats().Closed[ClosedByHolder])
		_, ok := ValueOf[*client](newIdleConn())
		require.False(t, ok)
	})
}

// TestLocalTLS: any TLS server, verified by its name.
func TestLocalTLS(t *testing.T) {
	ca := newAuthority(t, "server.example")
	ca.server.MaxVersion = tls.VersionTLS12 // what old servers speak
	address := listenEcho(t, ca, true)
	p := keep(t)(NewLocal(LocalConfig{Address: address, Limits: Limits{MaxOpen: 1}, TLS: &tls.Config{RootCAs: ca.client.RootCAs, ServerName: "server.example"}, Setup: saying("hello")}))
	for range 3 {
		require.NoError(t, p.Do(t.Context(), func(c net.Conn) error {
			answer, err := askLine(c, "x")
			require.Equal(t, "x", answer)
			return err
		}))
	}
	require.EqualValues(t, 1, p.Stats().Created)
	other := keep(t)(NewLocal(LocalConfig{Address: address, TLS: &tls.Config{RootCAs: ca.client.RootCAs, ServerName: "other.example"}}))
	_, err := other.Fresh(t.Context())
	require.ErrorContains(t, err, "other.example")
	named := keep(t)(NewLocal(LocalConfig{Address: address, TLS: &tls.Config{RootCAs: ca.client.RootCAs}}))
	_, err = named.Fresh(t.Context())
	require.ErrorContains(t, err, "127.0.0.1", "the host of the address is the name")
}

// TestLocalConfig: what cannot work is refused, with the field.
func TestLocalConfig(t *testing.T) {
	hook := func(context.Context, *Conn) error { return nil }
	dial := newLineServer(t, nil).dial
	for want, cfg := range map[string]LocalConfig{
		"LocalConfig.Address: it is empty":                                      {},
		"LocalConfig.Dial: it is set, and Address or Network too":               {Dial: dial, Address: "a:1"},
		`LocalConfig.Address: "a" is not host:port`:                             {Address: "a"},
		`LocalConfig.Network: "udp" is not known; it can be tcp, tcp4, tcp6 or`: {Network: "udp", Address: "a:1"},
		"LocalConfig.TLS: it has no ServerName":                                 {Dial: dial, TLS: &tls.Config{}},
		"LocalConfig.CheckAtGet: it is set, and Check is nil":                   {Dial: dial, CheckAtGet: 1},
		"LocalConfig.CheckEvery: it is set, and Check is nil":                   {Dial: dial, CheckEvery: 1},
		"LocalConfig.ConnectTimeout is -1s; it must not be negative":            {Dial: dial, ConnectTimeout: -time.Second},
		"LocalConfig.CheckTimeout is -1s; it must not be negative":              {Dial: dial, Check: hook, CheckTimeout: -time.Second},
		"LocalConfig.GoodbyeTimeout is -1s; it must not be negative":            {Dial: dial, GoodbyeTimeout: -time.Second},
		"LocalConfig.MaxDials is -1; it must not be negative":                   {Dial: dial, MaxDials: -1},
		"LocalConfig.MinInterval and MaxInterval must not be negative":          {Dial: dial, MinInterval: -1},
		"LocalConfig.MinCap 3 exceeds MaxCap 2":                                 {Dial: dial, Limits: Limits{MinCap: 3, MaxCap: 2}},
	} {
		_, err := NewLocal(cfg)
		require.ErrorContains(t, err, want)
	}
	for _, address := range []string{"redis://user:secret@host:6379", "redis://host:6379/?password=secret", "secret@host:6379", "user:secret@host:6379"} {
		_, err := NewLocal(LocalConfig{Address: address})
		require.ErrorContains(t, err, "LocalConfig.Address: it is a URL or has a user in it")
		require.NotContains(t, err.Error(), "secret")
	}
}
