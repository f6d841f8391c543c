package wakeup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

const (
	// every is the time between two looks.
	every = time.Second

	// confirm is when an address that was not there is looked for again:
	// renewing a lease or roaming takes one away for a moment, and the
	// connection lives on.
	confirm = every / 2
)

// The reasons, for errors.Is. They are wrapped with what was seen.
var (
	// ErrAddressGone: the connection's local address is no longer one of this
	// machine's.
	ErrAddressGone = errors.New("this machine's address changed")

	// ErrAddressNew: this machine has an address that it had not before.
	ErrAddressNew = errors.New("this machine has a new address")

	// ErrSlept: the wall clock went ahead of the time that programs ran.
	ErrSlept = errors.New("this machine slept")
)

// Watch waits until a connection with that local address should be given up:
// ErrAddressGone, or ErrSlept when the clock jumped by more than jump, which is
// best about the time after which the peer would have missed us. It returns the
// cause of ctx when that ends first. For an address that is not IP it watches
// the clock alone. It starts no goroutine.
func Watch(ctx context.Context, local net.Addr, jump time.Duration) error {
	return machine.watch(ctx, ipOf(local), jump)
}

// Await waits, for a program that has no connection, until it is worth to dial
// again: ErrAddressNew, or ErrSlept as Watch; or the cause of ctx. It starts no
// goroutine.
func Await(ctx context.Context, jump time.Duration) error {
	return machine.await(ctx, jump)
}

// sources are what is looked at.
type sources struct {
	addresses func() ([]netip.Addr, error)
	wall      func() time.Time
}

// machine is this one.
var machine = sources{addresses: localAddresses, wall: func() time.Time { return time.Now().Round(0) }}

func localAddresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	found := make([]netip.Addr, 0, len(all))
	for _, a := range all {
		if ip := ipOf(a); ip.IsValid() {
			found = append(found, ip)
		}
	}
	return found, nil
}

// ipOf is an address without what may differ between two texts of it; not
// valid when it has none.
func ipOf(a net.Addr) netip.Addr {
	var ip netip.Addr
	switch a := a.(type) {
	case *net.TCPAddr:
		ip = a.AddrPort().Addr()
	case *net.UDPAddr:
		ip = a.AddrPort().Addr()
	case *net.IPNet:
		ip, _ = netip.AddrFromSlice(a.IP)
	case *net.IPAddr:
		ip, _ = netip.AddrFromSlice(a.IP)
	}
	return ip.Unmap().WithZone("")
}

func (s sources) watch(ctx context.Context, local netip.Addr, jump time.Duration) error {
	clock := s.newClock(jump)
	missing := false
	next := every
	for {
		if err := sleep(ctx, next); err != nil {
			return err
		}
		if err := clock.look(); err != nil {
			return err
		}
		next = every
		if !local.IsValid() || local.IsLoopback() { // all of 127/8 is there, and not listed
			continue
		}
		there, err := s.has(local)
		switch {
		case err != nil: // it was not seen, and not missed either
		case there:
			missing = false
		case missing:
			return fmt.Errorf("%w: %v is gone", ErrAddressGone, local)
		default:
			missing, next = true, confirm
		}
	}
}

func (s sources) has(local netip.Addr) (bool, error) {
	all, err := s.addresses()
	for _, ip := range all {
		if ip == local {
			return true, nil
		}
	}
	return false, err
}

func (s sources) await(ctx context.Context, jump time.Duration) error {
	clock := s.newClock(jump)
	known, _ := s.reachable()
	for {
		if err := sleep(ctx, every); err != nil {
			return err
		}
		if err := clock.look(); err != nil {
			return err
		}
		now, err := s.reachable()
		if err != nil {
			continue
		}
		for ip := range now {
			if known != nil && !known[ip] {
				return fmt.Errorf("%w: %v", ErrAddressNew, ip)
			}
		}
		known = now // one that went and comes back is new
	}
}

// reachable are the addresses from which others can be reached. They are nil
// together with an error.
func (s sources) reachable() (map[netip.Addr]bool, error) {
	all, err := s.addresses()
	if err != nil {
		return nil, err
	}
	found := make(map[netip.Addr]bool, len(all))
	for _, ip := range all {
		if ip.IsGlobalUnicast() {
			found[ip] = true
		}
	}
	return found, nil
}

// clock compares the wall clock with the monotonic one, which stands while the
// machine sleeps. (Where it does not, as on Windows, deadlines have passed when
// the machine wakes, and nobody needs to be told.) A process that was merely
// stopped sees both go on.
type clock struct {
	sources
	jump time.Duration
	wall time.Time // of the last look
	ran  time.Time // the same, with the monotonic reading
}

func (s sources) newClock(jump time.Duration) *clock {
	return &clock{sources: s, jump: jump, wall: s.wall(), ran: time.Now()}
}

// look compares what passed since the last look. The wall clock set back is no
// sleep.
func (c *clock) look() error {
	wall, ran := c.sources.wall(), time.Now()
	slept := wall.Sub(c.wall) - ran.Sub(c.ran)
	c.wall, c.ran = wall, ran
	if slept > c.jump {
		return fmt.Errorf("%w: the clock jumped by %v", ErrSlept, slept.Round(time.Second))
	}
	return nil
}

// sleep waits, but not past ctx, whose cause it then returns.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
