package access

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

const targetsForm = "write HOST:PORT separated by commas, for example db:5432,10.0.0.7:8000-8099,*:22"

// Targets says which addresses may be connected to. The zero value allows none.
// Targets is never changed once made, and so is safe for concurrent use.
type Targets struct{ all []allowed }

type allowed struct {
	host  string // as normalHost has it; "*": any
	ports Ports
}

// ParseTargets reads HOST:PORT separated by commas. HOST is a name or an address,
// IPv6 in brackets, or * for any; PORT is a number, a range as in 8000-8099, or *
// for any. An empty text allows none. An error says which part is wrong and what
// the form is.
func ParseTargets(text string) (Targets, error) {
	var t Targets
	if strings.TrimSpace(text) == "" {
		return t, nil
	}
	if strings.Count(text, ",") >= maxRanges {
		return t, fmt.Errorf("more than %d targets", maxRanges)
	}
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		host, port, err := net.SplitHostPort(part)
		if err != nil || host == "" {
			return Targets{}, fmt.Errorf("%q is not HOST:PORT; %s", part, targetsForm)
		}
		if port == "*" {
			port = "1-65535"
		}
		r, err := parseRange(port)
		if err != nil {
			return Targets{}, fmt.Errorf("%q: %w", part, err)
		}
		t.all = append(t.all, allowed{normalHost(host), Ports{ranges: []portRange{r}}})
	}
	return t, nil
}

// Allow reports whether the target, which is HOST:PORT, is among them. Names are
// compared as they are written, save for their case: what they resolve to does
// not count, so that nobody reaches an address by another name for it.
func (t Targets) Allow(target string) bool {
	host, port, err := net.SplitHostPort(target)
	if err != nil || host == "" {
		return false
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || port[0] == '+' {
		return false
	}
	host = normalHost(host)
	for _, a := range t.all {
		if (a.host == "*" || a.host == host) && a.ports.Allows(uint16(number)) {
			return true
		}
	}
	return false
}

// Empty reports whether none is allowed.
func (t Targets) Empty() bool { return len(t.all) == 0 }

func normalHost(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
