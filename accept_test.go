package pool

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNewAcceptorRefuses(t *testing.T) {
	for field, cfg := range map[string]AcceptConfig{
		"TLS":                    {TLS: "9"},
		"TLSConfig":              {TLS: TLSVerified},
		"ClientIP":               {ClientIP: "example.com"},
		"AllowFrom":              {AllowFrom: make([]netip.Prefix, 1)},
		"HandshakeTimeout":       {HandshakeTimeout: -1},
		"MaxHandshakes:":         {MaxHandshakes: -1},
		"MaxHandshakesPerSource": {MaxHandshakesPerSource: -1},
		"FailureRate":            {FailureRate: math.NaN()},
		"FailureBurst":           {FailureBurst: -1},
	} {
		_, err := NewAcceptor(cfg)
		require.ErrorContains(t, err, field)
	}
}

// TestSilentConnectionsAreClosed: silence, also in the middle of something,
// lasts as long as HandshakeTimeout and no longer.
func TestSilentConnectionsAreClosed(t *testing.T) {
	key := NewKey()
	for _, mode := range []TLSMode{TLSPlain, TLSSelfSigned} {
		for name, say := range map[string][]byte{
			"nothing":        {},
			"half a hello":   {1, 1, 0, 0},
			"half a TLS one": {0x16, 0x03, 0x01, 0x02, 0x00, 0x01},
		} {
			t.Run(fmt.Sprintf("mode %s, %s", mode, name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newPipeListener()
					d := openDoorOn(t, l, AcceptConfig{TLS: mode, Keys: KnownKeys(key), HandshakeTimeout: 7 * time.Second})
					start := time.Now()
					conn := l.dial("192.0.2.1:1000")
					_, err := conn.Write(say)
					require.NoError(t, err)
					got, err := io.ReadAll(conn)
					require.NoError(t, err)
					require.Empty(t, got)
					require.Equal(t, 7*time.Second, time.Since(start))
					require.Contains(t, (<-d.log).text, "(timeout)")
					require.Equal(t, map[RejectReason]uint64{RejectTimeout: 1}, d.Stats().Rejected)
				})
			})
		}
	}
}

func TestClientIP(t *testing.T) {
	for _, tt := range []struct {
		clientIP, from string
		ok             bool
	}{
		{"192.0.2.1", "192.0.2.1:5", true},
		{"192.0.2.1", "[::ffff:192.0.2.1]:5", true},
		{"::ffff:192.0.2.1", "192.0.2.1:5", true},
		{"192.0.2.1", "192.0.2.10:5", false},
		{"192.0.2.1", "[2001:db8::1]:5", false},
		{"2001:db8::1", "[2001:db8:0:0::1]:5", true},
		{"fe80::1", "[fe80::1%eth0]:5", true},
		{"fe80::1%eth1", "[fe80::1%eth0]:5", true},
		{"192.0.2.1", "@", false},
		{"192.0.2.1", "", false},
		{"", "", true},
	} {
		t.Run(tt.clientIP+" from "+tt.from, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newPipeListener()
				d := openDoorOn(t, l, AcceptConfig{TLS: TLSPlain, ClientIP: tt.clientIP})
				conn := l.dial(tt.from)
				got, err := io.ReadAll(io.LimitReader(conn, int64(len(doorGreeting))))
				require.NoError(t, err)
				if tt.ok {
					require.Equal(t, doorGreeting, string(got))
					return
				}
				require.Empty(t, got)
				require.Equal(t, map[RejectReason]uint64{RejectAddress: 1}, d.Stats().Rejected)
			})
		})
	}
}

func TestAllowFrom(t *testing.T) {
	only := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("::ffff:192.0.2.0/120")}
	for from, ok := range map[string]bool{
		"10.1.2.3:5":           true,
		"[::ffff:10.1.2.3]:5":  true,
		"[2001:db8::1]:5":      true,
		"[2001:db8::1%eth0]:5": true,
		"192.0.2.7:5":          true,
		"[::ffff:192.0.2.7]:5": true,
		"11.0.0.1:5":           false,
		"[::ffff:11.0.0.1]:5":  false,
		"[2001:db9::1]:5":      false,
		"@":                    false,
		"":                     false,
	} {
		t.Run("from "+from, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newPipeListener()
				d := openDoorOn(t, l, AcceptConfig{TLS: TLSPlain, AllowFrom: only})
				conn := l.dial(from)
				got, err := io.ReadAll(io.LimitReader(conn, int64(len(doorGreeting))))
				require.NoError(t, err)
				require.Equal(t, ok, string(got) == doorGreeting)
				if !ok {
					require.Equal(t, map[RejectReason]uint64{RejectAddress: 1}, d.Stats().Rejected)
				}
			})
		})
	}
}

// TestAllowFromChanges: what is set holds for who connects next, and a mistake
// changes nothing.
func TestAllowFromChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		d := openDoorOn(t, l, AcceptConfig{TLS: TLSPlain})
		enters := func() bool {
			got, err := io.ReadAll(io.LimitReader(l.dial("192.0.2.1:5"), int64(len(doorGreeting))))
			require.NoError(t, err)
			return string(got) == doorGreeting
		}
		require.True(t, enters())
		require.NoError(t, d.SetAllowFrom([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}))
		require.False(t, enters())
		require.ErrorContains(t, d.SetAllowFrom([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), {}}), "AllowFrom")
		require.False(t, enters())
		require.NoError(t, d.SetAllowFrom([]netip.Prefix{netip.MustParsePrefix("::ffff:192.0.2.0/120")}))
		require.True(t, enters())
		require.NoError(t, d.SetAllowFrom(nil))
		require.True(t, enters())
	})
}

// TestOutsidersDoNotFillTheLog: one warning a minute, whatever comes.
func TestOutsidersDoNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		d := openDoorOn(t, l, AcceptConfig{TLS: TLSPlain, AllowFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
		knock := func() string {
			_, err := io.ReadAll(l.dial("192.0.2.1:5"))
			require.NoError(t, err)
			line := <-d.log
			return line.level + " " + line.text
		}
		require.Equal(t, `WARN refused a connection from 192.0.2.1:5 (address): "only the configured addresses may connect"`, knock())
		for range 3 {
			require.Contains(t, knock(), "DEBUG")
		}
		time.Sleep(time.Minute)
		require.Equal(t, `WARN refused a connection from 192.0.2.1:5 (address): "only the configured addresses may connect"; 3 more like it since the last warning`, knock())
		require.Equal(t, map[RejectReason]uint64{RejectAddress: 5}, d.Stats().Rejected)
	})
}

func TestClientIPOnLoopback(t *testing.T) {
	d := openDoor(t, AcceptConfig{ClientIP: "::ffff:127.0.0.1"})
	conn, err := d.secure(t, Security{})
	require.NoError(t, err)
	conn.Close()

	d = openDoor(t, AcceptConfig{ClientIP: "192.0.2.1"})
	_, err = d.secure(t, Security{})
	require.Error(t, err)
	require.Contains(t, (<-d.log).text, "(address)")
}

func TestServeEnds(t *testing.T) {
	for name, end := range map[string]func(l net.Listener, cancel context.CancelFunc){
		"with its context":     func(_ net.Listener, cancel context.CancelFunc) { cancel() },
		"with its listener":    func(l net.Listener, _ context.CancelFunc) { l.Close() },
		"with a spent context": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newPipeListener()
				key := NewKey()
				log := make(eventLog, 10)
				a, err := NewAcceptor(AcceptConfig{Keys: KnownKeys(key), Logger: log})
				require.NoError(t, err)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if end == nil {
					cancel()
				}
				handled := make(chan struct{})
				served := make(chan error, 1)
				go func() {
					served <- a.Serve(ctx, l, func(ctx context.Context, conn net.Conn, _ Hello) {
						close(handled)
						<-ctx.Done() // handle has to be told
						closeBelowTLS(conn)
					})
				}()
				if end != nil {
					silent := l.dial("192.0.2.1:1")
					s := Security{Key: key}
					_, err = s.Secure(t.Context(), l.dial("192.0.2.2:2"))
					require.NoError(t, err)
					<-handled
					synctest.Wait()
					require.Equal(t, 2, a.Stats().InFlight)
					start := time.Now()
					end(l, cancel)
					require.NoError(t, <-served)
					require.Zero(t, time.Since(start), "it waited for a deadline")
					_, err = silent.Read(make([]byte, 1))
					require.ErrorIs(t, err, io.EOF)
				} else {
					require.NoError(t, <-served)
				}
				require.Zero(t, a.Stats().InFlight)
				_, err = l.Accept()
				require.ErrorIs(t, err, net.ErrClosed, "Serve closes its listener")
				require.Empty(t, log, "ending is nobody's fault")
				require.Empty(t, a.Stats().Rejected)
			})
		})
	}
}

// TestHandleHasTheDeadline: what handle does is under the same deadline as the
// handshake.
func TestHandleHasTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		a, err := NewAcceptor(AcceptConfig{TLS: TLSPlain, HandshakeTimeout: 4 * time.Second})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		served, handled := make(chan error, 1), make(chan struct{})
		start := time.Now()
		go func() {
			served <- a.Serve(ctx, l, func(ctx context.Context, conn net.Conn, _ Hello) {
				defer close(handled)
				defer conn.Close()
				deadline, _ := ctx.Deadline()
				require.Equal(t, start.Add(4*time.Second), deadline)
				_, err := conn.Write([]byte("nobody reads this"))
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			})
		}()
		defer l.dial("").Close()
		<-handled
		require.Equal(t, 4*time.Second, time.Since(start))
		cancel()
		require.NoError(t, <-served)
	})
}

func TestPipeListener(t *testing.T) {
	modes(t, func(t *testing.T, mode TLSMode) {
		synctest.Test(t, func(t *testing.T) {
			l := newPipeListener()
			key := NewKey()
			d := openDoorOn(t, l, AcceptConfig{TLS: mode, Keys: KnownKeys(key)})
			s := Security{TLS: mode, Key: key, Hello: []byte("hello")}
			conn, err := s.Secure(t.Context(), l.dial("pipe"))
			require.NoError(t, err)
			_, err = io.ReadFull(conn, make([]byte, len(doorGreeting)))
			require.NoError(t, err)
			require.Equal(t, "hello", string((<-d.arrivals).hello.Data))
			closeBelowTLS(conn)
		})
	})
}

func TestPeerLeaves(t *testing.T) {
	modes(t, func(t *testing.T, mode TLSMode) {
		d := openDoor(t, AcceptConfig{TLS: mode, Keys: KnownKeys(NewKey())})
		d.dial(t).Close()
		require.Contains(t, (<-d.log).text, "(closed)")
		require.Equal(t, map[RejectReason]uint64{RejectClosed: 1}, d.Stats().Rejected)
	})
}
