package access

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

const forwardsForm = "write HOST:PORT separated by commas, for example db.internal:5432,10.0.0.7:8000-8099,*:443; IPv6 in brackets"

// Forwards are destinations that a client may reach through the server: hosts,
// each with ports. The zero value is none. Forwards are never changed once
// made, and so are safe for concurrent use.
type Forwards struct {
	list []forward
	text string
}

type forward struct {
	host  string // as sameHost has it; "" is any
	ports portRange
}

// ParseForwards reads destinations such as "db.internal:5432,*:443,[::1]:1-99".
// "*" stands for any host or any port. A host is matched by what the client
// asks for, before any name is looked up. An error says which part is wrong and
// what the form is.
func ParseForwards(text string) (Forwards, error) {
	if strings.TrimSpace(text) == "" {
		return Forwards{}, fmt.Errorf("no destinations given; %s", forwardsForm)
	}
	if strings.Count(text, ",") >= maxRanges {
		return Forwards{}, fmt.Errorf("more than %d destinations; join them, as in *:443", maxRanges)
	}
	f := Forwards{}
	var parts []string
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		one, err := parseForward(part)
		if err != nil {
			return Forwards{}, err
		}
		f.list = append(f.list, one)
		parts = append(parts, part)
	}
	f.text = strings.Join(parts, ",")
	return f, nil
}

func parseForward(part string) (forward, error) {
	host, ports, err := net.SplitHostPort(part)
	if err != nil || host == "" || ports == "" || strings.ContainsAny(host, " \t/") || strings.Contains(host, "*") && host != "*" {
		return forward{}, fmt.Errorf("%.80q is not HOST:PORT; %s", part, forwardsForm)
	}
	f := forward{ports: portRange{1, 65535}}
	if host != "*" {
		f.host = sameHost(host)
	}
	if ports != "*" {
		if f.ports, err = parseRange(ports); err != nil {
			return forward{}, fmt.Errorf("%.80q: %w", part, err)
		}
	}
	return f, nil
}

// sameHost is a host in the one form in which it is compared: an address as
// netip writes it, unmapped; a name in small letters without a dot at its end.
func sameHost(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// Allow reports whether host, a name or an address without brackets, and port
// are among them.
func (f Forwards) Allow(host string, port uint16) bool {
	host = sameHost(host)
	if host == "" {
		return false
	}
	for _, one := range f.list {
		if (one.host == "" || one.host == host) && one.ports.first <= port && port <= one.ports.last {
			return true
		}
	}
	return false
}

// String returns the destinations in the form that [ParseForwards] reads, or
// "none".
func (f Forwards) String() string {
	if len(f.list) == 0 {
		return "none"
	}
	return f.text
}
