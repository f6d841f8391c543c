package tunnel

import (
	"strings"
	"time"

	"github.com/tunnelpool/pool/internal/service"
	"github.com/tunnelpool/pool/internal/wire"
)

// Bounds and default of Service.UDPIdle.
const (
	DefaultUDPIdle = time.Minute
	MinUDPIdle     = time.Second
	MaxUDPIdle     = time.Hour
)

func (s *Service) isUDP() bool { return s.Network == "udp" }

// network is the service's, as the server is asked for it.
func (s *Service) network() byte { return networkCode(s.Network) }

func networkCode(name string) byte {
	if name == "udp" {
		return wire.NetworkUDP
	}
	return wire.NetworkTCP
}

// checkNetwork refuses networks that cannot be published, and what does not go
// with a service's; number is how errors call the service.
func (s *Service) checkNetwork(number int) error {
	setDefault(&s.Network, "tcp")
	switch {
	case s.Network != "tcp" && s.Network != "udp":
		return badField("Services", "the network %q of number %d is neither tcp nor udp", s.Network, number)
	case !s.isUDP() && s.UDPIdle != 0:
		return badField("Services", "number %d has an idle time for UDP, and is a service of TCP", number)
	case !s.isUDP():
		return nil
	case strings.Contains(s.Target, ",") || strings.HasPrefix(s.Target, service.UnixScheme):
		return badField("Services", "number %d is a service of UDP, which has one target, HOST:PORT", number)
	case s.ProxyProtocol != "":
		return badField("Services", "number %d is a service of UDP, whose target cannot be told users' addresses", number)
	case s.Health != "":
		return badField("Services", "number %d is a service of UDP, whose target cannot be checked", number)
	}
	setDefault(&s.UDPIdle, DefaultUDPIdle)
	if s.UDPIdle < MinUDPIdle || s.UDPIdle > MaxUDPIdle {
		return badField("Services", "the idle time %v of number %d is not between %v and %v", s.UDPIdle, number, MinUDPIdle, MaxUDPIdle)
	}
	return nil
}

// onNetwork is an address as logs have it, which tell UDP as -R does.
func onNetwork(network byte, addr string) string {
	if network == wire.NetworkUDP {
		return "udp/" + addr
	}
	return addr
}
