package datagram

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// localSize is room for the control message that tells the address a datagram
// was sent to: a header, which ends with level and type, and the larger one of
// in_pktinfo and in6_pktinfo, aligned.
const localSize = (unix.SizeofCmsghdr + unix.SizeofInet6Pktinfo + 7) &^ 7

// local is an address of this host, as the control message that an answer from it
// is sent with. Zero: the system chooses.
type local struct {
	message [localSize]byte
	size    uint8
}

func (at *local) control() []byte { return at.message[:at.size] }

// tellLocal makes the system tell which address of this host a datagram was sent
// to, if the socket has all of them: the answer must leave from that one, or the
// user does not know it.
func tellLocal(socket *net.UDPConn) {
	raw, err := socket.SyscallConn()
	if err != nil || !socket.LocalAddr().(*net.UDPAddr).IP.IsUnspecified() {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1) != nil { // it is one for IPv4
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		}
	})
}

// localOf takes the address from a control message.
func localOf(control []byte) (at local) {
	if len(control) < unix.SizeofCmsghdr || len(control) > localSize {
		return local{}
	}
	at.size = uint8(copy(at.message[:], control))
	level := binary.NativeEndian.Uint32(control[unix.SizeofCmsghdr-8:])
	kind := binary.NativeEndian.Uint32(control[unix.SizeofCmsghdr-4:])
	info := at.message[unix.SizeofCmsghdr:at.size]
	// The way out is the routing table's to choose, but for an address that means
	// something on one link only.
	switch {
	case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_PKTINFO && len(info) >= unix.SizeofInet6Pktinfo:
		ip := netip.AddrFrom16([16]byte(info))
		if ip.IsMulticast() {
			return local{}
		}
		if !ip.IsLinkLocalUnicast() {
			clear(info[16:20])
		}
	case level == unix.IPPROTO_IP && kind == unix.IP_PKTINFO && len(info) >= unix.SizeofInet4Pktinfo:
		clear(info[:4])
	default:
		return local{}
	}
	return at
}
