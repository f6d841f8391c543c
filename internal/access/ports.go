// Package access says who may have what: public ports, destinations behind the
// server, and where connections may come from.
package access

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxRanges bounds what ParsePorts reads. Nobody writes that many by hand.
const maxRanges = 4096

const portsForm = "write ports and ranges separated by commas, for example 443,1024-65535"

// Ports is a set of ports from 1 to 65535. The zero value is empty. Ports is
// never changed once made, and so is safe for concurrent use.
type Ports struct {
	ranges []portRange // in order, apart from each other by at least one port
}

type portRange struct{ first, last uint16 }

// ParsePorts reads ports and ranges such as "443,1024-65535". They may come in
// any order and overlap; space around a comma or hyphen is ignored. An error
// says which part is wrong and what the form is.
func ParsePorts(text string) (Ports, error) {
	if strings.TrimSpace(text) == "" {
		return Ports{}, fmt.Errorf("no ports given; %s", portsForm)
	}
	if strings.Count(text, ",") >= maxRanges {
		return Ports{}, fmt.Errorf("more than %d ranges; join neighbours, as in 1024-65535", maxRanges)
	}
	var ranges []portRange
	for part := range strings.SplitSeq(text, ",") {
		r, err := parseRange(strings.TrimSpace(part))
		if err != nil {
			return Ports{}, err
		}
		ranges = append(ranges, r)
	}
	return Ports{ranges: join(ranges)}, nil
}

func parseRange(part string) (portRange, error) {
	if part == "" {
		return portRange{}, fmt.Errorf("nothing between two commas, or a comma too many; %s", portsForm)
	}
	from, to, isRange := strings.Cut(part, "-")
	first, err := parsePort(strings.TrimSpace(from))
	if err != nil {
		return portRange{}, err
	}
	if !isRange {
		return portRange{first, first}, nil
	}
	last, err := parsePort(strings.TrimSpace(to))
	if err != nil {
		return portRange{}, err
	}
	if last < first {
		return portRange{}, fmt.Errorf("range %d-%d runs backwards; write the lower port first, %d-%d", first, last, last, first)
	}
	return portRange{first, last}, nil
}

func parsePort(text string) (uint16, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		const most = 10 // bytes; of what is longer, a key perhaps, no part is shown
		shown := strconv.Quote(text)
		if len(text) > most {
			shown = fmt.Sprintf("a value of %d bytes", len(text))
		}
		return 0, fmt.Errorf("%s is not a port from 1 to 65535; %s", shown, portsForm)
	}
	return uint16(port), nil
}

// join puts ranges in order and makes one of those that overlap or touch.
func join(ranges []portRange) []portRange {
	slices.SortFunc(ranges, func(a, b portRange) int { return cmp.Compare(a.first, b.first) })
	var joined []portRange
	for _, r := range ranges {
		if n := len(joined); n > 0 && int(r.first) <= int(joined[n-1].last)+1 {
			joined[n-1].last = max(joined[n-1].last, r.last)
			continue
		}
		joined = append(joined, r)
	}
	return joined
}

// Allows reports whether port is in the set. 0 never is: it asks for any port,
// and the one that is found has to be allowed.
func (p Ports) Allows(port uint16) bool {
	_, found := slices.BinarySearchFunc(p.ranges, port, func(r portRange, port uint16) int {
		switch {
		case port < r.first:
			return 1
		case port > r.last:
			return -1
		}
		return 0
	})
	return found
}

// Without returns the set without port. The server takes its own port out with
// it, which nobody may publish on.
func (p Ports) Without(port uint16) Ports {
	var rest []portRange
	for _, r := range p.ranges {
		if port < r.first || port > r.last {
			rest = append(rest, r)
			continue
		}
		if port > r.first {
			rest = append(rest, portRange{r.first, port - 1})
		}
		if port < r.last {
			rest = append(rest, portRange{port + 1, r.last})
		}
	}
	return Ports{ranges: rest}
}

// String returns the set in the form that ParsePorts reads, in order and as
// short as it can be; the empty set is "none".
func (p Ports) String() string {
	if len(p.ranges) == 0 {
		return "none"
	}
	parts := make([]string, len(p.ranges))
	for i, r := range p.ranges {
		parts[i] = strconv.Itoa(int(r.first))
		if r.last > r.first {
			parts[i] += "-" + strconv.Itoa(int(r.last))
		}
	}
	return strings.Join(parts, ",")
}
