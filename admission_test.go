package pool

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// knocker comes to a door in a bubble.
type knocker struct {
	t *testing.T
	l *pipeListener
	Security
}

func (k knocker) from(address string) error {
	conn, err := k.Secure(k.t.Context(), k.l.dial(address))
	if err == nil {
		_, err = io.ReadFull(conn, make([]byte, len(doorGreeting)))
		closeBelowTLS(conn)
	}
	synctest.Wait() // the door is done with it
	return err
}

// TestFailuresAreLimited: of a source that failed too often nobody is heard,
// before the proof, and before TLS computes anything; others are, and so is it
// when its time has come.
func TestFailuresAreLimited(t *testing.T) {
	const burst = 5
	modes(t, func(t *testing.T, mode TLSMode) {
		synctest.Test(t, func(t *testing.T) {
			l := newPipeListener()
			key := NewKey()
			var looked, certificates atomic.Int32
			keys := KnownKeys(key)
			cfg := AcceptConfig{
				TLS: mode, FailureRate: 2, FailureBurst: burst,
				Keys: func(h Hello) (Key, bool) { looked.Add(1); return keys(h) },
			}
			if mode != TLSPlain {
				cert, err := generateCertificate()
				require.NoError(t, err)
				cfg.TLSConfig = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
					certificates.Add(1)
					return &cert, nil
				}}
			}
			d := openDoorOn(t, l, cfg)
			good := knocker{t, l, Security{TLS: mode, Key: key}}
			wrong := knocker{t, l, Security{TLS: mode, Key: NewKey()}}
			for range 10 * burst { // successes are not counted
				require.NoError(t, good.from("192.0.2.1:1"))
			}
			require.Empty(t, d.failures.records, "nothing to remember")
			for range burst {
				require.ErrorIs(t, wrong.from("192.0.2.1:1"), ErrRefused)
			}
			looked.Store(0)
			certificates.Store(0)
			for range 100 {
				require.ErrorIs(t, good.from("192.0.2.1:1"), ErrBusy)
				require.ErrorIs(t, wrong.from("192.0.2.1:1"), ErrBusy)
			}
			require.Zero(t, looked.Load(), "it cost a proof")
			require.Zero(t, certificates.Load(), "it cost a handshake")
			require.Equal(t, map[RejectReason]uint64{RejectProof: burst, RejectRate: 200}, d.Stats().Rejected)
			require.NoError(t, good.from("192.0.2.2:1"), "others are none the worse")

			time.Sleep(time.Second) // two more
			require.NoError(t, good.from("192.0.2.1:1"))
			require.ErrorIs(t, wrong.from("192.0.2.1:1"), ErrRefused)
			require.NoError(t, good.from("192.0.2.1:1"))
			require.ErrorIs(t, wrong.from("192.0.2.1:1"), ErrRefused)
			require.ErrorIs(t, good.from("192.0.2.1:1"), ErrBusy)
			require.EqualValues(t, 201, d.Stats().Rejected[RejectRate])
		})
	})
}

// TestUnprovenAttemptsCount: who has spoken and not proven anything is a
// failure until the contrary is known; who says nothing costs nothing.
func TestUnprovenAttemptsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		key := NewKey()
		d := openDoorOn(t, l, AcceptConfig{TLS: TLSPlain, Keys: KnownKeys(key), FailureRate: 0.001, FailureBurst: 3})
		good := knocker{t, l, Security{TLS: TLSPlain, Key: key}}
		for i := range 50 { // silence, garbage, and half a hello
			conn := l.dial("192.0.2.1:1")
			defer conn.Close()
			_, _ = conn.Write([][]byte{{}, []byte("GET / HTTP/1.1\r\n\r\n"), {1, 1}}[i%3]) // the door hangs up in the middle of the second
		}
		var stalled [3]*gateConn
		done := make(chan error, len(stalled))
		for i := range stalled {
			conn := &gateConn{Conn: l.dial("192.0.2.1:1"), gate: make(chan struct{})}
			stalled[i] = conn
			go func() {
				_, err := good.Secure(t.Context(), conn)
				done <- err
			}()
			_, err := conn.release(helloHeadSize + nonceSize)
			require.NoError(t, err)
		}
		synctest.Wait()
		require.ErrorIs(t, good.from("192.0.2.1:2"), ErrBusy, "three are unproven")
		close(stalled[0].gate)
		require.NoError(t, <-done)
		synctest.Wait()
		require.NoError(t, good.from("192.0.2.1:2"), "one of them succeeded")
		stalled[1].Close() // fails
		close(stalled[1].gate)
		synctest.Wait()
		require.NoError(t, good.from("192.0.2.1:2"))
		close(stalled[2].gate)
		for range 2 {
			<-done
		}
		synctest.Wait()
		f := d.failures
		require.Len(t, f.records, 1)
		r := f.records[sourceOf(netip.MustParseAddr("192.0.2.1"))]
		require.Zero(t, r.budget.unproven)
		require.Zero(t, f.strangers.unproven)
		require.InDelta(t, 2, r.budget.tokens.Tokens(), 0.1, "one failed")
	})
}

// TestNoLimit: one proxy in front of everybody is no attacker.
func TestNoLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		key := NewKey()
		d := openDoorOn(t, l, AcceptConfig{TLS: TLSPlain, Keys: KnownKeys(key), FailureRate: -1, FailureBurst: 1})
		wrong := knocker{t, l, Security{TLS: TLSPlain, Key: NewKey()}}
		for range 100 {
			require.ErrorIs(t, wrong.from("192.0.2.1:1"), ErrRefused)
		}
		require.Equal(t, map[RejectReason]uint64{RejectProof: 100}, d.Stats().Rejected)
	})
	a, err := NewAcceptor(AcceptConfig{TLS: TLSPlain})
	require.NoError(t, err)
	require.EqualValues(t, defaultFailureRatePlain, a.failures.limit)
	a, err = NewAcceptor(AcceptConfig{})
	require.NoError(t, err)
	require.EqualValues(t, defaultFailureRate, a.failures.limit)
	require.Equal(t, defaultFailureBurst, a.failures.burst)
}

// TestFailuresOfAServerPool: a pool's door has the limit that its configuration
// says.
func TestFailuresOfAServerPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const burst = 3
		l := newPipeListener()
		key := NewKey()
		cfg := ServerConfig{Listener: l, TLS: TLSPlain, Keys: KnownKeys(key), FailureRate: 1, FailureBurst: burst}
		run(t, keep(t)(NewServer(cfg)))
		good, wrong := knocker{t, l, Security{TLS: TLSPlain, Key: key}}, knocker{t, l, Security{TLS: TLSPlain, Key: NewKey()}}
		for range burst {
			require.ErrorIs(t, wrong.from("192.0.2.1:1"), ErrRefused)
		}
		require.ErrorIs(t, good.from("192.0.2.1:1"), ErrBusy)
		require.NoError(t, good.from("192.0.2.2:1"))
		time.Sleep(time.Second) // of the bubble's clock: one more
		require.NoError(t, good.from("192.0.2.1:1"))

		cfg.FailureBurst = -1
		_, err := NewServer(cfg)
		require.ErrorContains(t, err, "FailureBurst")
	})
}

// TestConfigForClient: a config that the program chooses by the client's hello
// is chosen as ever, but not for whom nobody is to be bothered with.
func TestConfigForClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cert, err := generateCertificate()
		require.NoError(t, err)
		asked := 0
		l := newPipeListener()
		key := NewKey()
		openDoorOn(t, l, AcceptConfig{Keys: KnownKeys(key), FailureRate: 0.001, FailureBurst: 1, TLSConfig: &tls.Config{
			GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				asked++
				if h.ServerName != "a.test" {
					return nil, errors.New("no such host")
				}
				return &tls.Config{Certificates: []tls.Certificate{cert}}, nil
			},
		}})
		good := knocker{t, l, Security{Key: key, ServerName: "a.test"}}
		other := knocker{t, l, Security{Key: key, ServerName: "b.test"}}
		require.NoError(t, good.from("192.0.2.1:1"))
		require.ErrorContains(t, other.from("192.0.2.1:1"), "internal error")
		require.Equal(t, 2, asked)
		require.ErrorIs(t, good.from("192.0.2.1:1"), ErrBusy)
		require.Equal(t, 2, asked)
	})
}

// TestFailureRecordsAreBounded: who has more addresses than are remembered
// grows nothing, loses nobody who is just proving a key, and has not more
// attempts than the limit for all.
func TestFailureRecordsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places, burst = 10, 100
		source := func(n int) netip.Prefix {
			return sourceOf(netip.MustParseAddr(fmt.Sprintf("2001:db8:%x:%x::1", n>>16, n&0xffff)))
		}
		f := newFailures(1, burst, places)
		steady := sourceOf(netip.MustParseAddr("192.0.2.1"))
		require.True(t, f.begin(steady, false))
		heard := 0
		for n := range 3 * maxFailureRecords {
			f.wrongProof(source(n), false, KeyID{})
			if f.begin(source(n), false) {
				heard++
				f.end(source(n), false, true)
			}
			require.LessOrEqual(t, len(f.records), maxFailureRecords)
		}
		require.Equal(t, strangerFailures*burst-1, heard, "less the one in progress")
		require.Contains(t, f.records, steady, "its attempt is in progress")
		f.end(steady, false, false)
		require.Zero(t, f.strangers.unproven)

		time.Sleep(time.Hour) // all of it is long past
		reports, _ := f.report()
		require.Len(t, reports, reportedSources+1)
		time.Sleep(time.Hour)
		for n := range maxFailureRecords / 2 { // each that comes takes two along
			f.wrongProof(source(1<<20+n), false, KeyID{})
		}
		require.Len(t, f.records, maxFailureRecords/2, "only they have anything to remember")
		require.Equal(t, len(f.records), f.order.Len())

		// With more places than half the records there are more records.
		require.Equal(t, 20_000, newFailures(1, burst, 10_000).maxRecords)
	})
}

// TestFailuresOfAnUnknownSource: a connection that has no address is nobody's.
func TestFailuresOfAnUnknownSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		d := openDoorOn(t, l, AcceptConfig{TLS: TLSPlain, Keys: KnownKeys(NewKey()), FailureBurst: 1})
		wrong := knocker{t, l, Security{TLS: TLSPlain, Key: NewKey()}}
		for range 20 {
			require.ErrorIs(t, wrong.from("pipe"), ErrRefused)
		}
		require.Equal(t, map[RejectReason]uint64{RejectProof: 20}, d.Stats().Rejected)
	})
}

// TestBusy: who is not heard is told so, in each mode, and that it says nothing
// of the key.
func TestBusy(t *testing.T) {
	modes(t, func(t *testing.T, mode TLSMode) {
		key := NewKey()
		d := openDoor(t, AcceptConfig{TLS: mode, Keys: KnownKeys(key), FailureRate: 0.001, FailureBurst: 1})
		_, err := d.secure(t, Security{TLS: mode, Key: NewKey()})
		require.ErrorIs(t, err, ErrRefused)
		require.Contains(t, (<-d.log).text, "(proof)")
		_, err = d.secure(t, Security{TLS: mode, Key: key})
		require.ErrorIs(t, err, ErrBusy)
		require.NotErrorIs(t, err, ErrRefused)
		require.NotErrorIs(t, err, ErrTLSMismatch)
		require.Contains(t, (<-d.log).text, "(rate)")
		conn := d.dial(t) // the words of docs/PROTOCOL.md
		defer conn.Close()
		if mode == TLSPlain {
			_, err = conn.Write(appendHello(nil, Hello{Kind: KindPool}))
			require.NoError(t, err)
			_, err = conn.Write(make([]byte, nonceSize))
		} else {
			session := tls.Client(&oneWay{Conn: conn}, &tls.Config{InsecureSkipVerify: true})
			err = session.Handshake()
			require.ErrorIs(t, err, io.EOF)
			err = nil
		}
		require.NoError(t, err)
		said, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Equal(t, "busy\n", string(said))
	})
}

// oneWay is a connection that only writes.
type oneWay struct{ net.Conn }

func (oneWay) Read([]byte) (int, error) { return 0, io.EOF }
