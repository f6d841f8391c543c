package pool

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// letIn sets which addresses may connect: clientIP and those of the prefixes, as
// far as they are set.
func (a *Acceptor) letIn(clientIP string, prefixes []netip.Prefix) error {
	if clientIP != "" {
		ip, err := netip.ParseAddr(clientIP)
		if err != nil {
			return fmt.Errorf("ClientIP: %w", err)
		}
		a.clientIP = ip.Unmap().WithZone("")
	}
	return a.SetAllowFrom(prefixes)
}

// SetAllowFrom changes [AcceptConfig.AllowFrom] for those who connect from then on.
// It refuses prefixes that are not valid, and changes nothing then.
func (a *Acceptor) SetAllowFrom(prefixes []netip.Prefix) error {
	const mapped = 128 - 32
	var all []netip.Prefix
	for _, p := range prefixes {
		if !p.IsValid() {
			return errors.New("AllowFrom: one prefix is not valid")
		}
		if p.Addr().Is4In6() && p.Bits() >= mapped {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
		}
		all = append(all, p)
	}
	a.allowFrom.Store(&all)
	return nil
}

// outside reports whether who comes from ip, unmapped and without a zone, may
// not connect.
func (a *Acceptor) outside(ip netip.Addr) bool {
	from := *a.allowFrom.Load()
	return a.clientIP.IsValid() && ip != a.clientIP ||
		len(from) > 0 && !slices.ContainsFunc(from, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// paced lets a warning through that anybody can cause: the first, and then one a
// minute.
type paced struct {
	mu    sync.Mutex
	last  time.Time
	muted int
}

// pass reports whether to warn now. more says how many there were since the
// last warning.
func (p *paced) pass(now time.Time) (more string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.last.IsZero() && now.Sub(p.last) < reportInterval {
		p.muted++
		return "", false
	}
	if p.muted > 0 {
		more = fmt.Sprintf("; %d more like it since the last warning", p.muted)
	}
	p.last, p.muted = now, 0
	return more, true
}
