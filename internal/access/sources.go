package access

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

const sourcesForm = "write prefixes and addresses separated by commas, for example 10.0.0.0/8,2001:db8::/32"

// Sources are where connections may come from. The zero value is anywhere.
// Sources are never changed once made, and so are safe for concurrent use.
type Sources struct {
	prefixes []netip.Prefix // of unmapped addresses without zones
}

// ParseSources reads prefixes and addresses such as "10.0.0.0/8,2001:db8::1".
// Space around a comma is ignored; a prefix in the IPv4-mapped form is the IPv4
// prefix. An error says which part is wrong and what the form is.
func ParseSources(text string) (Sources, error) {
	if strings.TrimSpace(text) == "" {
		return Sources{}, fmt.Errorf("no prefixes given; %s", sourcesForm)
	}
	if strings.Count(text, ",") >= maxRanges {
		return Sources{}, fmt.Errorf("more than %d prefixes; join neighbours, as in 10.0.0.0/8", maxRanges)
	}
	var prefixes []netip.Prefix
	for part := range strings.SplitSeq(text, ",") {
		p, err := parsePrefix(strings.TrimSpace(part))
		if err != nil {
			return Sources{}, err
		}
		prefixes = append(prefixes, p)
	}
	return Sources{prefixes}, nil
}

func parsePrefix(part string) (netip.Prefix, error) {
	var p netip.Prefix
	var err error
	if strings.Contains(part, "/") {
		p, err = netip.ParsePrefix(part)
	} else {
		var ip netip.Addr
		ip, err = netip.ParseAddr(part)
		p = netip.PrefixFrom(ip, ip.BitLen())
	}
	if err != nil || strings.Contains(part, "%") { // a zone is this machine's own
		return netip.Prefix{}, fmt.Errorf("%.80q is not a prefix; %s", part, sourcesForm)
	}
	return checkPrefix(p)
}

// checkPrefix takes the IPv4-mapped form off. Bits behind the prefix are a
// mistake: nobody can tell which of the two was meant.
func checkPrefix(p netip.Prefix) (netip.Prefix, error) {
	if !p.IsValid() {
		return netip.Prefix{}, fmt.Errorf("an empty prefix; %s", sourcesForm)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%v has bits behind its prefix; is %v meant, or %v?", p, p.Masked(), p.Addr())
	}
	const mapped = 128 - 32
	if p.Addr().Is4In6() && p.Bits() >= mapped {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p, nil
}

// NewSources makes Sources of prefixes; of none, anywhere. It takes what
// [ParseSources] does.
func NewSources(prefixes []netip.Prefix) (Sources, error) {
	var s Sources
	for _, p := range prefixes {
		p, err := checkPrefix(netip.PrefixFrom(p.Addr().WithZone(""), p.Bits()))
		if err != nil {
			return Sources{}, err
		}
		s.prefixes = append(s.prefixes, p)
	}
	return s, nil
}

// Anywhere reports whether every address is among them.
func (s Sources) Anywhere() bool { return len(s.prefixes) == 0 }

// Prefixes returns them, none for anywhere. The slice is the caller's own.
func (s Sources) Prefixes() []netip.Prefix { return slices.Clone(s.prefixes) }

// Allow reports whether addr, with or without a port, is among them. An IPv4
// address and its IPv4-mapped IPv6 form are the same; zones are ignored. What is
// no IP address is among them only if they are anywhere.
func (s Sources) Allow(addr net.Addr) bool {
	if s.Anywhere() {
		return true
	}
	ip := ipOf(addr).Unmap().WithZone("")
	return slices.ContainsFunc(s.prefixes, func(p netip.Prefix) bool { return p.Contains(ip) })
}

func ipOf(addr net.Addr) netip.Addr {
	switch addr := addr.(type) {
	case *net.TCPAddr:
		return addr.AddrPort().Addr()
	case *net.UDPAddr:
		return addr.AddrPort().Addr()
	case nil:
		return netip.Addr{}
	}
	at, _ := netip.ParseAddrPort(addr.String())
	return at.Addr()
}

// String returns the prefixes in the form that [ParseSources] reads, or
// "anywhere".
func (s Sources) String() string {
	if s.Anywhere() {
		return "anywhere"
	}
	parts := make([]string, len(s.prefixes))
	for i, p := range s.prefixes {
		parts[i] = p.String()
	}
	return strings.Join(parts, ",")
}
