package testnet

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	device = "link0"

	// queueLength is how many packets wait for the reader of a device before
	// the kernel drops some.
	queueLength = 4096
)

// newNamespace makes a namespace with a loopback and one end of a link.
func newNamespace(addr string) (*Namespace, error) {
	n := &Namespace{addr: addr}
	leaveHome := func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("testnet: make a network namespace, which needs root: %w", err)
		}
		return nil
	}
	err := elsewhere(leaveHome, func() (err error) {
		if n.file, err = os.Open(ownNamespace); err != nil {
			return fmt.Errorf("testnet: %w", err)
		}
		if n.tun, err = openDevice(); err != nil {
			return err
		}
		return setUp(addr)
	})
	if err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// ownNamespace is the network of the calling thread.
const ownNamespace = "/proc/thread-self/ns/net"

// within calls f on a thread in a namespace.
func within(namespace *os.File, f func() error) error {
	return elsewhere(func() error {
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("testnet: enter a namespace: %w", err)
		}
		return nil
	}, f)
}

// elsewhere calls f on a thread that leaveHome took to another namespace, and
// brings the thread home. One that cannot be brought home stays with its
// goroutine, and ends with it.
func elsewhere(leaveHome, f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open(ownNamespace)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("testnet: %w", err)
	}
	defer home.Close()
	if err := leaveHome(); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return fmt.Errorf("testnet: leave a namespace: %w", back)
	}
	runtime.UnlockOSThread()
	return err
}

// openDevice makes a TUN device in the thread's namespace. A read of it is one
// packet behind a header that says how the kernel is to cut it, as in virtio;
// the device at the other end of the link takes both as they are.
func openDevice() (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("testnet: open /dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(device)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err == nil {
		err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, largePackets)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("testnet: make a TUN device: %w", err)
	}
	return os.NewFile(uintptr(fd), device), nil
}

// largePackets lets the kernel hand over TCP's bytes uncut and unsummed.
const largePackets = unix.TUN_F_CSUM | unix.TUN_F_TSO4

func (n *Namespace) setLargePackets(on bool) error {
	offload := 0
	if on {
		offload = largePackets
	}
	raw, err := n.tun.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	if err := raw.Control(func(fd uintptr) { set = unix.IoctlSetInt(int(fd), unix.TUNSETOFFLOAD, offload) }); err != nil {
		return err
	}
	return set
}

// setUp gives the device its address in the link's network and brings it and
// the loopback up.
func setUp(addr string) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("testnet: %w", err)
	}
	defer unix.Close(s)
	change := func(name string, what uint, fill func(*unix.Ifreq) error) {
		if err != nil {
			return
		}
		request, e := unix.NewIfreq(name)
		if e == nil {
			e = fill(request)
		}
		if e == nil {
			e = unix.IoctlIfreq(s, what, request)
		}
		if e != nil {
			err = fmt.Errorf("testnet: set %s up: %w", name, e)
		}
	}
	ip := netip.MustParseAddr(addr).As4()
	up := func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }
	change("lo", unix.SIOCSIFFLAGS, up)
	change(device, unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(ip[:]) })
	change(device, unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) })
	change(device, unix.SIOCSIFTXQLEN, func(r *unix.Ifreq) error { r.SetUint32(queueLength); return nil })
	change(device, unix.SIOCSIFFLAGS, up)
	return err
}
