package wakeup

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const jump = 5 * time.Second

// fake is a machine whose addresses and clock the test moves.
type fake struct {
	mu        sync.Mutex
	addresses []netip.Addr
	err       error         // of a look for addresses
	ahead     time.Duration // of the wall clock
	looked    int
}

func (f *fake) sources() sources {
	return sources{
		addresses: func() ([]netip.Addr, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.looked++
			return f.addresses, f.err
		},
		wall: func() time.Time {
			f.mu.Lock()
			defer f.mu.Unlock()
			return time.Now().Round(0).Add(f.ahead)
		},
	}
}

func (f *fake) has(addresses ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.addresses = nil
	for _, a := range addresses {
		f.addresses = append(f.addresses, netip.MustParseAddr(a))
	}
}

func (f *fake) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fake) sleep(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ahead += d
}

func (f *fake) looks() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.looked
}

// started runs wait in the bubble and returns where its answer comes.
func started(t *testing.T, wait func(context.Context) error) (<-chan error, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(t.Context())
	answer := make(chan error, 1)
	go func() { answer <- wait(ctx) }() // ends with ctx
	t.Cleanup(func() { cancel(nil) })
	synctest.Wait()
	return answer, cancel
}

func (f *fake) watching(t *testing.T, local string) (<-chan error, context.CancelCauseFunc) {
	return started(t, func(ctx context.Context) error {
		ip, _ := netip.ParseAddr(local)
		return f.sources().watch(ctx, ip, jump)
	})
}

func (f *fake) awaiting(t *testing.T) <-chan error {
	answer, _ := started(t, func(ctx context.Context) error { return f.sources().await(ctx, jump) })
	return answer
}

// requireQuiet wants nothing to be reported for many looks.
func requireQuiet(t *testing.T, answer <-chan error) {
	t.Helper()
	time.Sleep(10 * every)
	synctest.Wait()
	select {
	case err := <-answer:
		t.Fatalf("reported %v", err)
	default:
	}
}

func TestAddressGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fake
		f.has("127.0.0.1", "192.0.2.7", "2001:db8::7")
		answer, _ := f.watching(t, "192.0.2.7")
		requireQuiet(t, answer)
		f.has("127.0.0.1", "198.51.100.7", "2001:db8::7")
		begun := time.Now()
		err := <-answer
		require.ErrorIs(t, err, ErrAddressGone)
		require.ErrorContains(t, err, "192.0.2.7 is gone")
		require.LessOrEqual(t, time.Since(begun), every+confirm)
	})
}

// TestAddressesThatDoNotMatter: order, other interfaces, link-local and
// temporary addresses are no reason to give a connection up.
func TestAddressesThatDoNotMatter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fake
		f.has("127.0.0.1", "192.0.2.7", "fe80::1", "2001:db8::aaaa")
		answer, _ := f.watching(t, "192.0.2.7")
		for _, now := range [][]string{
			{"192.0.2.7", "127.0.0.1", "2001:db8::aaaa", "fe80::1"},
			{"192.0.2.7", "127.0.0.1", "2001:db8::bbbb"},
			{"192.0.2.7", "10.0.0.1", "fe80::2"},
			{"192.0.2.7"},
		} {
			f.has(now...)
			requireQuiet(t, answer)
		}
	})
}

// TestAddressAwayForAMoment: a lease that is renewed, or an interface that
// roams, has its address again before it is missed twice.
func TestAddressAwayForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fake
		f.has("192.0.2.7")
		answer, _ := f.watching(t, "192.0.2.7")
		for range 5 {
			f.has()
			before := f.looks()
			for f.looks() == before {
				time.Sleep(confirm / 4)
			}
			f.has("192.0.2.7")
			requireQuiet(t, answer)
		}
	})
}

// TestLooksThatFail tell nothing.
func TestLooksThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fake
		f.fail(errors.New("too many open files"))
		watching, _ := f.watching(t, "192.0.2.7")
		awaiting := f.awaiting(t)
		requireQuiet(t, watching)
		requireQuiet(t, awaiting)
		f.fail(nil)
		f.has("192.0.2.7")
		requireQuiet(t, watching)
		requireQuiet(t, awaiting)
	})
}

func TestSlept(t *testing.T) {
	for name, begin := range map[string]func(*fake, *testing.T) <-chan error{
		"watching":             func(f *fake, t *testing.T) <-chan error { a, _ := f.watching(t, "192.0.2.7"); return a },
		"watching no address":  func(f *fake, t *testing.T) <-chan error { a, _ := f.watching(t, ""); return a },
		"without a connection": (*fake).awaiting,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f fake
				f.has("192.0.2.7")
				answer := begin(&f, t)
				for _, d := range []time.Duration{jump, -time.Hour, jump} {
					f.sleep(d) // a clock that is corrected, or set back
					requireQuiet(t, answer)
				}
				f.sleep(jump + time.Millisecond)
				err := <-answer
				require.ErrorIs(t, err, ErrSlept)
				require.ErrorContains(t, err, "jumped by 5s")
			})
		})
	}
}

// TestWithoutAddress: a connection that is not IP's is not missed.
func TestWithoutAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fake
		answer, cancel := f.watching(t, "")
		requireQuiet(t, answer)
		require.Zero(t, f.looks())
		why := errors.New("over")
		cancel(why)
		require.ErrorIs(t, <-answer, why)
	})
}

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fake
		f.has("127.0.0.1", "192.0.2.7")
		answer := f.awaiting(t)
		for _, now := range [][]string{
			{"192.0.2.7", "127.0.0.1"},
			{"192.0.2.7", "127.0.0.1", "fe80::1", "169.254.1.1", "::1"}, // leads nowhere
			{"127.0.0.1"},
		} {
			f.has(now...)
			requireQuiet(t, answer)
		}
		f.has("127.0.0.1", "192.0.2.7") // the old one is back
		begun := time.Now()
		err := <-answer
		require.ErrorIs(t, err, ErrAddressNew)
		require.ErrorContains(t, err, "192.0.2.7")
		require.LessOrEqual(t, time.Since(begun), every)
	})
}

func TestIPOf(t *testing.T) {
	tcp := func(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
	_, network, err := net.ParseCIDR("2001:db8::7/64")
	require.NoError(t, err)
	network.IP = net.ParseIP("2001:db8::7")
	for want, a := range map[string]net.Addr{
		"192.0.2.7":   tcp("[::ffff:192.0.2.7]:80"),
		"192.0.2.8":   tcp("192.0.2.8:80"),
		"fe80::1":     tcp("[fe80::1%eth0]:80"),
		"2001:db8::7": network,
		"192.0.2.9":   &net.IPNet{IP: net.ParseIP("192.0.2.9"), Mask: net.CIDRMask(24, 32)},
		"192.0.2.10":  &net.IPAddr{IP: net.ParseIP("192.0.2.10")},
		"192.0.2.11":  &net.UDPAddr{IP: net.ParseIP("192.0.2.11")},
	} {
		require.Equal(t, netip.MustParseAddr(want), ipOf(a))
	}
	require.False(t, ipOf(nil).IsValid())
	require.False(t, ipOf(&net.UnixAddr{Name: "x"}).IsValid())
	require.False(t, ipOf(&net.TCPAddr{}).IsValid())
}

// TestThisMachine: the real sources have the loopback's address, and a
// connection from it is kept.
func TestThisMachine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	all, err := localAddresses()
	require.NoError(t, err)
	require.Contains(t, all, ipOf(l.Addr()))
	ctx, cancel := context.WithTimeoutCause(t.Context(), every+confirm, errors.New("enough"))
	defer cancel()
	require.ErrorContains(t, Watch(ctx, l.Addr(), time.Hour), "enough")
	require.ErrorContains(t, Await(ctx, time.Hour), "enough")
}
