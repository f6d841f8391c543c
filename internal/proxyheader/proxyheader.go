// Package proxyheader writes and reads the headers of the PROXY protocol, by
// which a proxy tells whom it speaks for before it passes the first byte on.
package proxyheader

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

// Version is that of a header.
type Version byte

// The versions: a line of text, and binary.
const (
	V1 Version = 1
	V2 Version = 2
)

// ParseVersion reads "v1" or "v2".
func ParseVersion(text string) (Version, error) {
	switch text {
	case "v1":
		return V1, nil
	case "v2":
		return V2, nil
	}
	return 0, fmt.Errorf(`want "v1" or "v2"`)
}

// Format returns the header for a user who came to a public address. What is not
// known is left open: without a user the header says that nothing is known of
// whom it speaks for, and an address that is missing, or of the other family, is
// the unspecified one of the user's.
func Format(v Version, user, public netip.AddrPort) []byte {
	header := &proxyproto.Header{Version: byte(v), Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	if user.IsValid() {
		from, to := plain(user.Addr()), plain(public.Addr())
		if !to.IsValid() || to.Is4() != from.Is4() {
			to = netip.IPv6Unspecified()
			if from.Is4() {
				to = netip.IPv4Unspecified()
			}
		}
		header = proxyproto.HeaderProxyFromAddrs(byte(v), tcpAddr(from, user.Port()), tcpAddr(to, public.Port()))
	}
	b, err := header.Format()
	if err != nil {
		panic(err) // both addresses are of one family
	}
	return b
}

// Parse reads address:port as a peer wrote it. It is invalid unless the text is
// that and nothing else.
func Parse(text string) netip.AddrPort {
	at, err := netip.ParseAddrPort(text)
	if err != nil {
		return netip.AddrPort{}
	}
	return at
}

// plain is an address as a header can have it: without a zone, and IPv4 as such.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func tcpAddr(a netip.Addr, port uint16) *net.TCPAddr {
	return &net.TCPAddr{IP: a.AsSlice(), Port: int(port)}
}
